"""Graceful shutdown: what Ctrl-C or SIGTERM does to a command, and the trackers closed at its end.

The first lets the current step end, the second does not.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from autoprune import processes
from autoprune.cli.options import say
from autoprune.experiment.events import CommandFinished, CommandStarted, Emit, Event, Tracker

_TRACKERS: list[Tracker] = []
"""The log file and MLflow of the command under way, opened first and closed last."""


@contextmanager
def graceful_shutdown(say: Callable[[str], None]) -> Iterator[None]:
    """Take SIGINT and SIGTERM as a request to stop, until the block ends.

    The first asks the run under way to store its state and stop, the second ends the process at
    once. A block that stopped for it leaves with code 130 or 143.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread takes signals
        return
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if received:
            os._exit(128 + number)
        received.append(number)
        processes.request_stop()
        say("stopping after the current step, whose state is kept; once more stops at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + (received or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        processes.clear_stop()


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
