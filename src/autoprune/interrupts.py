"""Leaving: a run that is asked to leave stops behind the step at hand, its state kept."""

import threading

_ASKED = threading.Event()


def request_stop(*_: object) -> None:
    """Ask the run of this process to leave; takes and ignores what a signal handler is given."""
    _ASKED.set()


def clear_stop() -> None:
    """Take the asking back, so that later runs go on."""
    _ASKED.clear()


def stop_requested() -> bool:
    """Tell whether the run of this process is to leave."""
    return _ASKED.is_set()
