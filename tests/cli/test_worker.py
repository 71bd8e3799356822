"""Workers that join a study: what they make is the search's, and what they may not join."""

import json
import re
import shutil
import signal

import pytest

STUDY = "tiny-own-keep2"


@pytest.fixture(scope="module")
def short(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 6, "--json"),
        *("--epochs", 5, "--full-epochs", 3, "--seeds", 1, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--strategy", "middle", "--workers", 1),
    ]


@pytest.fixture(scope="module")
def undisturbed(run, short, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return run(*short, folder=folder).result


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.soak)])
def storage(request, here):
    return [] if request.param == "journal" else ["--storage", f"sqlite:///{here / 'study.db'}"]


def records(folder):
    lines = (folder / "studies" / STUDY / "records.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["phase"] == "search"]


def test_a_worker_makes_what_is_left_and_the_search_compares(
    run, stop, short, storage, here, undisturbed, monkeypatch
):
    monkeypatch.chdir(here)
    assert stop([*short, *storage], "trial   2/6", signal.SIGTERM).code == 143
    answer = run("worker", STUDY, *storage, "--workers", 1, "--trials-here", 1)
    assert answer.code == 0, answer.err
    assert re.search(r"joined tiny-own-keep2: [23] of 6 trials are finished", answer.err)
    assert re.search(r"[34] of 6 trials of study tiny-own-keep2 are finished", answer.lines[-1])
    answer = run("worker", STUDY, *storage, "--workers", 1)
    assert answer.lines[-1] == "6 of 6 trials of study tiny-own-keep2 are finished"
    assert len(records(here)) < 6  # a worker tells the storage; the search writes the records
    answer = run(*short, *storage)
    assert answer.result == undisturbed
    assert len(records(here)) == 6


def test_a_search_and_a_worker_share_the_trials(start, short, here):
    with start(*short, folder=here) as search:
        line = next(line for line in search.stderr if line.startswith("trial   1/6"))
        assert line
        with start("worker", STUDY, "--workers", 1, folder=here) as worker:
            _, told = worker.communicate(timeout=120)
        out, err = search.communicate(timeout=120)
    assert (worker.returncode, search.returncode) == (0, 0), told + err
    assert told.splitlines()[-1] == "6 of 6 trials of study tiny-own-keep2 are finished"
    result = json.loads(out)
    assert (result["trials"], result["repeated"]) == (6, 0)
    seen = {(record["layout"], record["seed"]) for record in records(here)}
    assert len(seen) == 6


@pytest.fixture
def begun(searched, here, monkeypatch):
    """Return the folder of a study, which is the working folder."""
    shutil.copytree(searched.folder, here, dirs_exist_ok=True)
    monkeypatch.chdir(here)
    return here


def refused(answer):
    assert (answer.code, answer.out) == (2, "")
    [line] = answer.lines
    assert line.startswith("autoprune: ")
    return line


def test_a_worker_has_nothing_to_do_in_a_finished_study(run, begun):
    answer = run("worker", STUDY, "--workers", 1)
    assert answer.code == 0, answer.err
    assert answer.lines[-1] == "6 of 6 trials of study tiny-own-keep2 are finished"
    assert not any(line.startswith("trial") for line in answer.lines)


def test_other_data_are_refused_before_the_first_trial(run, begun, task, tmp_path, write):
    other = shutil.copytree(task, tmp_path / "other" / "own")
    write(other / "validation.csv", [("एक दोन तीन", "खेळ"), ("दोन", "देश"), ("तीन", "राज्य")])
    line = refused(run("worker", STUDY, "--task", other, "--workers", 1))
    assert (
        "worker needs the model and data of study tiny-own-keep2, which was begun with data "
        in line
    )


def test_another_model_is_refused_before_the_first_trial(run, begun, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "tiny")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.3}))
    line = refused(run("worker", STUDY, "--model", other, "--workers", 1))
    assert "was begun with model tiny@" in line


def test_a_study_that_is_not_there_is_refused(run, begun):
    assert f"did you mean '{STUDY}'?" in refused(run("worker", STUDY[:-1]))
    missing = f"sqlite:///{begun / 'none.db'}"
    assert "there is no file" in refused(run("worker", STUDY, "--storage", missing))


def test_a_study_of_another_name_in_the_storage_is_refused(run, begun):
    shutil.move(begun / "studies" / STUDY, begun / "studies" / "renamed")
    line = refused(run("worker", "renamed"))
    assert f"there is no study 'renamed' in this storage, but {STUDY}: begin it" in line
