"""Leaving: a run that is asked to leave stops behind the step at hand, its state kept."""

import threading

_ASKED = threading.Event()


def ask(*_: object) -> None:
    """Ask the run of this process to leave; takes and ignores what a signal handler is given."""
    _ASKED.set()


def forget() -> None:
    """Take the asking back, so that later runs go on."""
    _ASKED.clear()


def is_asked() -> bool:
    """Tell whether the run of this process is to leave."""
    return _ASKED.is_set()
