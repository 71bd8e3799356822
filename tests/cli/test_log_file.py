"""Option --log-file: JSON lines of what a command does, without passwords."""

import json
import signal
from collections import Counter
from datetime import datetime, timedelta

import pytest

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


def runs(lines, event):
    return [(entry["layout"], entry["seed"]) for entry in lines if entry["event"] == event]


@pytest.mark.slow
def test_log_file_of_a_search_with_two_workers_has_all_events(run, short, tmp_path):
    answer = run(*short, "--workers", 2)
    assert answer.code == 0, answer.err
    lines = read(tmp_path / "log.jsonl")
    records = [json.loads(line) for line in (tmp_path / f"studies/{STUDY}/records.jsonl").open()]
    events = Counter(entry["event"] for entry in lines)
    assert events["trial begun"] == events["trial ended"] == 4
    compared = [entry for entry in records if entry["phase"] == "comparison"]
    assert events["comparison run ended"] >= len(compared) > 0
    assert sorted(runs(lines, "trial begun")) == sorted(runs(lines, "trial ended"))
    ended = {
        (entry["layout"], entry["seed"]): entry
        for entry in lines
        if entry["event"] == "trial ended"
    }
    trials = [entry for entry in records if entry["phase"] == "search"]
    assert len(trials) == 4
    for record in trials:
        line, [score] = ended[record["layout"], record["seed"]], record["scores"]
        assert {key: line[key] for key in ("quality", "loss", "seconds")} == {
            key: score[key] for key in ("quality", "loss", "seconds")
        }
        assert (line["study"], line["fidelity"], line["state"]) == (STUDY, 1.0, "complete")
    assert [lines[0]["event"], lines[1]["event"]] == ["command begun", "search begun"]
    assert (lines[-1]["event"], lines[-1]["code"]) == ("command ended", 0)
    [end] = [entry for entry in lines if entry["event"] == "search ended"]
    assert (end["trials"], end["found"]) == (4, answer.result["found"])
    times = [datetime.fromisoformat(entry["time"]) for entry in lines]
    assert times == sorted(times) and times[0].utcoffset() == timedelta(0)
    assert {entry["process"] for entry in lines} != {None}


@pytest.mark.slow
def test_log_file_of_a_resumed_search_has_each_trial_once(run, stop, short, tmp_path):
    assert stop([*short, "--workers", 1], "trial   1/4", signal.SIGTERM).code == 143
    before = read(tmp_path / "log.jsonl")
    assert "search stopped" in [entry["event"] for entry in before]
    assert (before[-1]["event"], before[-1]["code"]) == ("command ended", 143)
    assert run(*short, "--workers", 1).code == 0
    lines = read(tmp_path / "log.jsonl")
    assert lines[: len(before)] == before
    ended = runs(lines, "trial ended")
    assert len(ended) == len(set(ended)) == 4
    assert len({entry["process"] for entry in lines}) == 2


@pytest.mark.slow
def test_log_file_of_a_worker_has_only_its_trials(run, stop, short, tmp_path):
    assert stop([*short, "--workers", 1], "trial   1/4", signal.SIGTERM).code == 143
    answer = run("worker", STUDY, "--workers", 1, "--log-file", "worker.jsonl")
    assert answer.code == 0, answer.err
    lines = read(tmp_path / "worker.jsonl")
    assert [entry["event"] for entry in lines][:2] == ["command begun", "study joined"]
    made = runs(lines, "trial ended")
    assert sorted(made) == sorted(runs(lines, "trial begun")) and 0 < len(made) < 4
    assert run(*short, "--workers", 1).code == 0
    assert not set(made) & set(runs(read(tmp_path / "log.jsonl"), "trial ended"))


@pytest.mark.parametrize("name", ["nowhere/log.jsonl", "."])
@pytest.mark.parametrize("command", ["search", "baseline", "worker", "reproduce"])
def test_log_file_that_cannot_be_written_is_refused_first(run, tmp_path, command, name):
    arguments = {
        "search": ["--model", "demo", "--task", "demo", "--keep", 6],
        "baseline": ["--model", "demo", "--task", "demo", "--keep", 6],
        "worker": ["one"],
        "reproduce": ["demo"],
    }[command]
    assert (
        "--log-file must be a file that can be written"
        in run(command, *arguments, "--log-file", name).refusal()
    )
    assert list(tmp_path.iterdir()) == []


def test_log_file_has_a_refusal_without_the_password(run, tmp_path, monkeypatch):
    monkeypatch.setattr("autoprune.storage.storage._CONNECT_DELAYS", ())
    url = "postgresql+psycopg://ann:open-sesame@127.0.0.1:1/studies"
    line = run("worker", "one", "--storage", url, "--log-file", "log.jsonl").refusal()
    begun, refused, ended = read(tmp_path / "log.jsonl")
    assert (begun["event"], begun["command"]) == ("command begun", "worker")
    assert (refused["event"], f"autoprune: {refused['line']}") == ("refused", line)
    assert (ended["event"], ended["code"]) == ("command ended", 2)
    assert "ann:***@127.0.0.1" in line
    assert "open-sesame" not in (tmp_path / "log.jsonl").read_text()
