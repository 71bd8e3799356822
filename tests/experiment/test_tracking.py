"""Tracking: events in a log file and in MLflow; a tracker that fails stops no study."""

import json
import sys

import pytest
from mlflow import MlflowClient

from autoprune.errors import OptionError
from autoprune.experiment.events import (
    CommandFinished,
    CommandStarted,
    EntrantRunFinished,
    TrialFinished,
)
from autoprune.experiment.tracking import JsonLinesTracker, MlflowTracker


def trial(state="complete", figures=(0.5, 1.0, 2.0), reason="", elsewhere=False):
    return TrialFinished("s", "top", "4:0-1", 3, 1.0, state, *figures, reason, elsewhere)


def test_log_file_with_a_torn_line_goes_on_in_a_new_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"time": "2026-')
    tracker = JsonLinesTracker(path, pytest.fail)
    for event in (CommandStarted("search"), trial(reason="two\nlines, खेळ"), CommandFinished(0)):
        tracker.track(event)
    tracker.close()
    tracker.track(trial())
    torn, *lines = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"time": "2026-'
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["command begun", "trial ended", "command ended"]


def test_log_file_on_a_full_disk_warns_once(tmp_path, monkeypatch):
    path, warnings = tmp_path / "log.jsonl", []
    tracker = JsonLinesTracker(path, warnings.append)
    tracker.track(CommandStarted("search"))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autoprune.experiment.tracking.os.write", full)
        tracker.track(trial())
        tracker.track(trial())
    tracker.close()
    [line] = warnings
    assert "log.jsonl cannot be written (No space left on device): going on without it" in line
    assert [json.loads(line)["event"] for line in path.open()] == ["command begun"]


def test_mlflow_run_of_a_failed_trial_has_the_reason(mlflow_client, mlflow_runs):
    tracker = MlflowTracker(pytest.fail)
    tracker.track(trial("failed", (None, None, None), "the loss is nan"))
    tracker.track(trial(elsewhere=True))  # the process that ran it writes it
    figures = (0.5, 1.0, 2.0, 1e-4, "")
    on_file = EntrantRunFinished("s", "comparison", "top", "4:0-1", 3, 1.0, *figures, True, False)
    tracker.track(on_file)
    [run] = mlflow_runs("s")
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "the loss is nan")
    assert run.data.metrics == {}


def test_mlflow_that_fails_warns_once(mlflow_client, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("http://ann:secret@host")

    warnings = []
    tracker = MlflowTracker(warnings.append)
    monkeypatch.setattr(MlflowClient, "create_run", fail)
    tracker.track(trial())
    tracker.track(trial())
    assert warnings == ["MLflow takes no more runs (ConnectionError): going on without it"]


def test_mlflow_without_the_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(OptionError, match=r'pip install "autoprune\[mlflow\]"'):
        MlflowTracker(pytest.fail)
