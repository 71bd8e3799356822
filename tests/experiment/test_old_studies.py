"""Old studies: what version 0.1.0 wrote is read, reported, exported and resumed."""

import json
import shutil
from pathlib import Path

import pytest

from autoprune.api import load_study
from autoprune.experiment.config import StudyConfig
from command import run

MADE = Path(__file__).with_name("made_by_365078f")
BUDGET = ("--full-epochs", 2, "--seeds", 2, "--batch", 16, "--learning-rate", 0.02)
BUDGET = (*BUDGET, "--head", "drawn")  # there was no other
STUDY = ("--model", "model", "--task", "task", "--keep", 2, *BUDGET, "--workers", 1)


@pytest.fixture
def made(tmp_path):
    """Copy the studies into the working folder."""
    return shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)


def test_finished_study_is_loaded(made):
    result = load_study("finished")
    assert result.config == StudyConfig.from_options(
        model="model",
        task="task",
        keep=2,
        epochs=2,
        full_epochs=2,
        batch=16,
        learning_rate=0.02,
        head="drawn",
        strategies=("top", "middle"),
    )
    stored = json.loads((made / "studies/finished/study.json").read_text())
    assert str(result.found) == stored["choice"]["layout"]
    assert len(result.study.trials) == 4
    assert [row["origin"] for row in result.comparison] == [
        "found",
        "top",
        "middle",
        "full",
        "scratch",
    ]


def test_finished_study_is_resumed(made):
    records = (made / "studies/finished/records.jsonl").read_text()
    options = (*STUDY, "--epochs", 2, "--strategy", "top", "--strategy", "middle", "--json")
    same = run("search", *options, "--trials", 4, "--study", "finished")
    assert same.code == 0, same.err
    assert "4 trials of this study are finished, the search is done" in same.err
    assert (made / "studies/finished/records.jsonl").read_text() == records
    more = run("search", *options, "--trials", 5, "--study", "finished")
    assert more.code == 0, more.err
    assert more.result["trials"] == 5
    assert (made / "studies/finished/records.jsonl").read_text().startswith(records)


def test_study_of_the_drawn_head_is_not_gone_on_with_another(made):
    options = ("--epochs", 2, "--strategy", "top", "--strategy", "middle", "--study", "finished")
    answer = run("search", *STUDY, *options, "--head", "fitted")
    assert answer.code == 2
    assert "was begun with head drawn, got fitted" in answer.err


def test_unfinished_study_is_resumed_from_its_pauses(made):
    options = ("--model", "model", "--task", "task", "--keep", 2, *BUDGET[2:], "--workers", 1)
    more = run(
        *("search", *options, "--epochs", 1, "--full-epochs", 3, "--trials", 6, "--promote"),
        *("--strategy", "top", "--study", "unfinished", "--json"),
    )
    assert more.code == 0, more.err
    assert "4 trials of this study are finished, going on to 6" in more.err
    assert more.result["trials"] == 6


def test_worker_joins_an_unfinished_study(made):
    answer = run("worker", "unfinished", "--model", "model", "--task", "task", "--trials-here", 1)
    assert answer.code == 0, answer.err
    assert "joined unfinished: 4 of 9 trials finished" in answer.err


def test_baseline_is_repeated_from_its_records(made):
    options = (*STUDY, "--epochs", 2, "--strategy", "top", "--study", "baseline", "--json")
    answer = run("baseline", *options)
    assert answer.code == 0, answer.err
    runs = [line for line in answer.lines if line.startswith("run")]
    assert runs and all(line.endswith("on file") for line in runs)


def test_reports_and_lists_show_old_studies(made):
    assert run("report", "finished", "baseline").code == 0
    listed = json.loads(run("studies", "--json").out)["studies"]
    assert {study["study"]: study["state"] for study in listed} == {
        "baseline": "finished",
        "finished": "finished",
        "unfinished": "unfinished",
    }


@pytest.mark.slow
def test_old_study_is_exported(made):
    answer = run("export", "finished", "--out", "exported", "--seeds", 1)
    assert answer.code == 0, answer.err
    assert (made / "exported/model.safetensors").is_file()


def test_study_with_numeric_labels_in_their_old_order_is_reported(made):
    """Labels were sorted as texts: "10" stood before "9"."""
    path = made / "studies/finished/study.json"
    entry = json.loads(path.read_text())
    numbers = dict(zip(entry["setting"]["labels"], ("1", "10", "9"), strict=True))
    entry["setting"]["labels"] = list(numbers.values())
    path.write_text(json.dumps(entry))
    for file in (made / "task").glob("*.csv"):
        text = file.read_text()
        for label, number in numbers.items():
            text = text.replace(f",{label}\n", f",{number}\n")
        file.write_text(text)
    answer = run("report", "finished")
    assert answer.code == 0, answer.err
    assert "shows no texts" in answer.err
    assert (made / "reports/finished.md").exists()
    assert load_study("finished").study.setting.labels == ("1", "10", "9")
