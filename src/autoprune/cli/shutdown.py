"""Graceful shutdown: Ctrl-C or SIGTERM lets the current step end; the second one does not."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from autoprune import interrupts


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
        interrupts.request_stop()
        say("stopping after the current step, whose state is kept; once more stops at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + (received or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupts.clear_stop()
