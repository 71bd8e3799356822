"""The studies command: each study of the folder with its state and its best layout."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from autoprune.evaluation.study_files import read_study
from autoprune.experiment import study_store

NAME = "tiny-own-keep2"
STUDY = Path("studies") / NAME


@pytest.fixture
def begun(copy):
    """A copy of the study as if it had been stopped in its search, after two trials."""
    folder = Path("studies/begun")
    folder.mkdir()
    lines = (STUDY / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:2]))
    return folder


def test_studies_lists_state_and_best_layout(run, begun):
    Path("studies/empty").mkdir()
    Path("studies/empty/journal.log").touch()
    answer = run("studies")
    assert (answer.code, answer.err) == (0, "")
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert list(lines) == ["begun", "empty", NAME]
    comparison = read_study(STUDY).comparison
    row = comparison.row(comparison.best)
    assert "finished" in lines[NAME]
    assert f"{row.layout.picture}  {100 * row.test_mean:>5.1f} % on test" in lines[NAME]
    assert "unfinished     2 trials" in lines["begun"]
    assert "on validation" in lines["begun"]
    assert lines["empty"].endswith("0 trials")


def test_studies_json_has_the_same_figures(run, begun):
    first, second = json.loads(run("studies", "--json").out)["studies"]
    trials = [json.loads(line) for line in (begun / "records.jsonl").read_text().splitlines()]
    best = max(trials, key=lambda trial: trial["scores"][0]["quality"])
    assert (first["study"], first["state"], first["trials"]) == ("begun", "unfinished", 2)
    assert first["best"]["layout"] == best["layout"]
    assert first["best"]["quality"] == best["scores"][0]["quality"]
    assert (first["keep"], first["depth"], first["finding"]) == (2, 5, "")
    assert (second["state"], second["best"]["split"]) == ("finished", "test")
    assert second["finding"] in (
        "better",
        "worse",
        "no difference found",
        "same layout",
        "nothing learned",
    )


@pytest.mark.parametrize(
    ("finding", "end"),
    [("better", "found is better"), ("worse", "found is worse"), ("same layout", "  same layout")],
)
def test_studies_says_of_which_layout_its_finding_is(run, copy, monkeypatch, finding, end):
    monkeypatch.setattr(study_store, "verdict_in_brief", lambda _: finding)
    [line] = run("studies").out.splitlines()
    assert line.endswith(end)


def test_studies_shows_a_locked_study_as_running(run, begun):
    with FileLock(begun / ".lock"):
        out = run("studies").out
    assert out.splitlines()[0].split()[:2] == ["begun", "running"]
    assert run("studies").out.splitlines()[0].split()[:2] == ["begun", "unfinished"]


def test_studies_shows_a_finished_study_that_is_locked_as_running(run, copy):
    with FileLock(STUDY / ".lock"):
        [line] = run("studies").out.splitlines()
    assert line.split()[:2] == [NAME, "running"]


def cut(text):
    return "{"


def without_a_label(text):
    content = json.loads(text)
    content["test"]["labels"].pop()
    return json.dumps(content)


def without_a_row(text):
    content = json.loads(text)
    content["test"]["labels"].pop()
    content["test"]["kept"].pop()
    return json.dumps(content)


@pytest.mark.parametrize("spoil", [cut, without_a_label, without_a_row])
def test_studies_lists_the_others_if_one_cannot_be_read(run, copy, spoil):
    shutil.copytree(STUDY, "studies/broken")
    broken = Path("studies/broken/study.json")
    broken.write_text(spoil(broken.read_text()))
    answer = run("studies")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == [NAME]
    [line] = answer.lines
    assert line.startswith("broken: ") and "the study's command again" in line


def test_studies_without_any_is_refused(run, tmp_path):
    assert "no studies here" in run("studies").refusal()
    assert json.loads(run("studies", "--json").out) == {"studies": []}
