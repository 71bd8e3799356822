"""The worker command: it runs trials of a study that a search has begun."""

import json
import re
import shutil
import signal

import pytest

from autoprune.experiment import search_step

STUDY = "tiny-own-keep2"


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.soak)])
def storage(request, tmp_path):
    return [] if request.param == "journal" else ["--storage", f"sqlite:///{tmp_path / 'study.db'}"]


def records(folder):
    lines = (folder / "studies" / STUDY / "records.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["phase"] == "search"]


def test_worker_runs_the_missing_trials_and_the_search_compares(
    run, stop, resumable, storage, tmp_path, undisturbed
):
    assert stop([*resumable, *storage], "trial   2/6", signal.SIGTERM).code == 143
    answer = run("worker", STUDY, *storage, "--workers", 1, "--trials-here", 1)
    assert answer.code == 0, answer.err
    assert re.search(r"joined tiny-own-keep2: [23] of 6 trials finished", answer.err)
    assert re.search(r"study tiny-own-keep2: [34] of 6 trials finished", answer.lines[-1])
    answer = run("worker", STUDY, *storage, "--workers", 1)
    assert answer.lines[-1] == "study tiny-own-keep2: 6 of 6 trials finished"
    assert len(records(tmp_path)) < 6  # a worker writes to the storage, the search to the records
    answer = run(*resumable, *storage)
    assert answer.code == 0, answer.err
    assert answer.result == undisturbed.answer.result
    assert len(records(tmp_path)) == 6


@pytest.mark.slow
def test_worker_shares_the_trials_with_a_search(start, resumable, tmp_path):
    with start(*resumable, folder=tmp_path) as search:
        assert any(line.startswith("trial   1/6") for line in search.stderr)
        with start("worker", STUDY, "--workers", 1, folder=tmp_path) as worker:
            _, lines = worker.communicate(timeout=120)
        out, err = search.communicate(timeout=120)
    assert (worker.returncode, search.returncode) == (0, 0), lines + err
    assert lines.splitlines()[-1] == "study tiny-own-keep2: 6 of 6 trials finished"
    result = json.loads(out)
    assert (result["trials"], result["repeated"]) == (6, 0)
    seen = {(record["layout"], record["seed"]) for record in records(tmp_path)}
    assert len(seen) == 6


def test_worker_of_a_finished_study_runs_nothing(run, copy):
    answer = run("worker", STUDY, "--workers", 1)
    assert answer.code == 0, answer.err
    assert answer.lines[-1] == "study tiny-own-keep2: 6 of 6 trials finished"
    assert not any(line.startswith("trial") for line in answer.lines)


def test_worker_that_joins_while_a_trial_ends_is_not_refused(run, copy, monkeypatch):
    path = copy / "studies" / STUDY / "records.jsonl"
    whole = path.read_text()
    *before, last = (line for line in whole.splitlines(keepends=True) if '"phase":"search"' in line)
    path.write_text(whole.replace(last, ""))
    read = search_step.finished_trials

    def read_before_the_trial_ends(*arguments):
        path.write_text(whole)  # the search stores a trial, then its record
        return read(*arguments)[: len(before)]

    monkeypatch.setattr(search_step, "finished_trials", read_before_the_trial_ends)
    answer = run("worker", STUDY, "--workers", 1)
    assert answer.code == 0, answer.err
    assert "joined tiny-own-keep2: 5 of 6 trials finished" in answer.err


def test_study_commands_know_the_folder_in_which_they_stand(run, copy, monkeypatch):
    monkeypatch.chdir(copy / "studies" / STUDY)
    answer = run("worker", ".", "--workers", 1)
    assert answer.code == 0, answer.err
    assert answer.lines[-1] == f"study {STUDY}: 6 of 6 trials finished"
    answer = run("report", "./")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0] == f"reports/{STUDY}.md"


def test_worker_with_other_data_is_refused(run, copy, task, tmp_path, write):
    other = shutil.copytree(task, tmp_path / "other" / "own")
    write(other / "validation.csv", [("एक दोन तीन", "खेळ"), ("दोन", "देश"), ("तीन", "राज्य")])
    line = run("worker", STUDY, "--task", other, "--workers", 1).refusal()
    assert (
        "worker needs the model and data of study tiny-own-keep2, which was begun with data "
        in line
    )


def test_worker_with_another_model_is_refused(run, copy, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "tiny")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.3}))
    line = run("worker", STUDY, "--model", other, "--workers", 1).refusal()
    assert "was begun with model tiny@" in line


def test_worker_without_distillation_takes_no_teacher(run, copy):
    line = run("worker", STUDY, "--teacher", "t", "--workers", 1).refusal()
    assert line.endswith("this study is not distilled: leave --teacher out")


def test_worker_of_a_missing_study_is_refused(run, copy):
    assert f"did you mean '{STUDY}'?" in run("worker", STUDY[:-1]).refusal()
    missing = f"sqlite:///{copy / 'none.db'}"
    assert "there is no file" in run("worker", STUDY, "--storage", missing).refusal()


def test_worker_of_a_study_with_another_name_in_the_storage_is_refused(run, copy):
    shutil.move(copy / "studies" / STUDY, copy / "studies" / "renamed")
    line = run("worker", "renamed").refusal()
    assert f"there is no study 'renamed' in this storage, but {STUDY}: begin it" in line
