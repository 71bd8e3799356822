"""Trackers of the command under way: its log file and MLflow, opened first and closed last."""

from pathlib import Path

from autoprune.cli.options import say
from autoprune.experiment.events import CommandFinished, CommandStarted, Emit, Event, Tracker

_TRACKERS: list[Tracker] = []


def emit(event: Event) -> None:
    """Hand an event to the trackers of this command."""
    for tracker in _TRACKERS:
        tracker.track(event)


def open_trackers(command: str, log_file: Path | None = None, mlflow: bool = False) -> Emit:
    """Open what was asked for and return what hands events to it; raises `OptionError`."""
    if log_file is not None or mlflow:
        from autoprune.experiment.tracking import JsonLinesTracker, MlflowTracker

        if log_file is not None:
            _TRACKERS.append(JsonLinesTracker(log_file, say))
            emit(CommandStarted(command))
        if mlflow:
            _TRACKERS.append(MlflowTracker(say))
    return emit


def close_trackers(code: int) -> None:
    """Tell the trackers the exit code, and close them."""
    emit(CommandFinished(code))
    while _TRACKERS:
        _TRACKERS.pop().close()
