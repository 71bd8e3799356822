"""The log file: JSON lines of what a command does, appended, whole, without passwords."""

import json
import signal
from collections import Counter
from datetime import datetime, timedelta

import pytest

from autoprune.cli.trackers import close_trackers, emit, open_trackers
from autoprune.experiment.events import TrialFinished

STUDY = "tiny-own-keep2"


@pytest.fixture(scope="module")
def short(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 4, "--json"),
        *("--epochs", 5, "--full-epochs", 2, "--seeds", 1, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--strategy", "middle", "--log-file", "log.jsonl"),
    ]


def read(path):
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def ended(reason=""):
    figures = (0.5, 1.0, 2.0)
    return TrialFinished("s", "top", "4:0-1", 3, 1.0, "complete", *figures, reason, False)


def runs(lines, event):
    return [(one["layout"], one["seed"]) for one in lines if one["event"] == event]


def test_a_search_with_two_workers_tells_all_it_does(run, short, here):
    answer = run(*short, "--workers", 2)
    assert answer.code == 0, answer.err
    lines = read(here / "log.jsonl")
    records = [json.loads(line) for line in (here / f"studies/{STUDY}/records.jsonl").open()]
    events = Counter(one["event"] for one in lines)
    assert events["trial begun"] == events["trial ended"] == 4
    compared = [one for one in records if one["phase"] == "comparison"]
    assert events["comparison run ended"] >= len(compared) > 0
    assert sorted(runs(lines, "trial begun")) == sorted(runs(lines, "trial ended"))
    told = {(one["layout"], one["seed"]): one for one in lines if one["event"] == "trial ended"}
    trials = [one for one in records if one["phase"] == "search"]
    assert len(trials) == 4
    for record in trials:
        line, [score] = told[record["layout"], record["seed"]], record["scores"]
        assert {key: line[key] for key in ("quality", "loss", "seconds")} == {
            key: score[key] for key in ("quality", "loss", "seconds")
        }
        assert (line["study"], line["fidelity"], line["state"]) == (STUDY, 1.0, "complete")
    assert [lines[0]["event"], lines[1]["event"]] == ["command begun", "search begun"]
    assert (lines[-1]["event"], lines[-1]["code"]) == ("command ended", 0)
    [ended] = [one for one in lines if one["event"] == "search ended"]
    assert (ended["trials"], ended["found"]) == (4, answer.result["found"])
    times = [datetime.fromisoformat(one["time"]) for one in lines]
    assert times == sorted(times) and times[0].utcoffset() == timedelta(0)
    assert {one["process"] for one in lines} != {None}


def test_a_resumed_search_appends_and_tells_no_trial_twice(run, stop, short, here):
    assert stop([*short, "--workers", 1], "trial   1/4", signal.SIGTERM).code == 143
    before = read(here / "log.jsonl")
    assert "search stopped" in [one["event"] for one in before]
    assert (before[-1]["event"], before[-1]["code"]) == ("command ended", 143)
    assert run(*short, "--workers", 1).code == 0
    lines = read(here / "log.jsonl")
    assert lines[: len(before)] == before
    ended = runs(lines, "trial ended")
    assert len(ended) == len(set(ended)) == 4
    assert len({one["process"] for one in lines}) == 2


def test_a_worker_tells_its_own_trials_and_those_made_elsewhere_apart(run, stop, short, here):
    assert stop([*short, "--workers", 1], "trial   1/4", signal.SIGTERM).code == 143
    answer = run("worker", STUDY, "--workers", 1, "--log-file", "worker.jsonl")
    assert answer.code == 0, answer.err
    lines = read(here / "worker.jsonl")
    assert [one["event"] for one in lines][:2] == ["command begun", "study joined"]
    made = runs(lines, "trial ended")
    assert sorted(made) == sorted(runs(lines, "trial begun")) and 0 < len(made) < 4
    assert run(*short, "--workers", 1).code == 0
    assert not set(made) & set(runs(read(here / "log.jsonl"), "trial ended"))


@pytest.mark.parametrize("name", ["nowhere/log.jsonl", "."])
@pytest.mark.parametrize("command", ["search", "baseline", "worker", "reproduce"])
def test_a_file_that_cannot_be_written_is_refused_before_all(run, here, command, name):
    arguments = {
        "search": ["--model", "demo", "--task", "demo", "--keep", 6],
        "baseline": ["--model", "demo", "--task", "demo", "--keep", 6],
        "worker": ["one"],
        "reproduce": ["demo"],
    }[command]
    answer = run(command, *arguments, "--log-file", name)
    [line] = answer.lines
    assert (answer.code, answer.out) == (2, "")
    assert "--log-file must be a file that can be written" in line
    assert list(here.iterdir()) == []


def test_a_refusal_is_told_without_the_password(run, here, monkeypatch):
    monkeypatch.setattr("autoprune.storage.storage._PAUSES", ())
    url = "postgresql+psycopg://ann:open-sesame@127.0.0.1:1/studies"
    answer = run("worker", "one", "--storage", url, "--log-file", "log.jsonl")
    [line] = answer.lines
    begun, refused, ended = read(here / "log.jsonl")
    assert (begun["event"], begun["command"]) == ("command begun", "worker")
    assert (refused["event"], f"autoprune: {refused['line']}") == ("refused", line)
    assert (ended["event"], ended["code"]) == ("command ended", 2)
    assert "ann:***@127.0.0.1" in line
    assert "open-sesame" not in (here / "log.jsonl").read_text()


def test_a_torn_line_is_left_alone_and_what_follows_is_whole(here):
    path = here / "log.jsonl"
    path.write_text('{"time": "2026-')
    open_trackers("search", path)
    emit(ended("two\nlines, खेळ"))
    close_trackers(0)
    torn, *lines = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"time": "2026-'
    assert [json.loads(line)["event"] for line in lines] == [
        "command begun",
        "trial ended",
        "command ended",
    ]
    emit(ended("nobody takes it"))
    assert len(path.read_text().splitlines()) == 4


def test_a_full_disk_is_said_once_and_the_command_goes_on(here, capsys, monkeypatch):
    path = here / "log.jsonl"
    open_trackers("search", path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autoprune.experiment.tracking.os.write", full)
        emit(ended())
        emit(ended())
    close_trackers(0)
    [line] = capsys.readouterr().err.splitlines()
    assert "log.jsonl cannot be written (No space left on device): going on without it" in line
    assert [one["event"] for one in read(path)] == ["command begun"]
