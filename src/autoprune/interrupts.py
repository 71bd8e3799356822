"""Interrupts: after Ctrl-C or SIGTERM a run ends its current step, saves its state and stops."""

import threading

_STOP = threading.Event()


def request_stop(*_: object) -> None:
    """Ask this process's run to stop; ignores its arguments, those of a signal handler."""
    _STOP.set()


def clear_stop() -> None:
    """Withdraw the request, so that later runs of this process are not stopped."""
    _STOP.clear()


def stop_requested() -> bool:
    """Return whether this process's run should stop."""
    return _STOP.is_set()
