"""Stopping: Ctrl-C or a scheduler's notice lets the step at hand end; the second one does not."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from autoprune.scoring import leaving


@contextmanager
def stoppable(say: Callable[[str], None]) -> Iterator[None]:
    """Take SIGINT and SIGTERM as the wish to leave, until the block ends.

    The first asks the run under way to keep its state and stop, the second ends the process at
    once. A block that stopped for it leaves with code 130 or 143.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's affair
        return
    heard: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if heard:
            os._exit(128 + number)
        heard.append(number)
        leaving.ask()
        say("stopping behind the step at hand, whose state is kept; once more stops at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + (heard or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        leaving.forget()
