"""Processes: how child processes start, and interrupts: requests to stop this one.

After Ctrl-C or SIGTERM a run ends its current step, saves its state and stops.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("__file__", "__spec__")  # by which multiprocessing finds the main module

_STOP = threading.Event()


@contextmanager
def no_main_module() -> Iterator[None]:
    """Keep child processes that are started in the block from importing the main module.

    `multiprocessing` imports it in each child, so that a script without an
    `if __name__ == "__main__":` would start itself again, and one from standard input could not be
    found. What our children run is in the package.
    """
    main = sys.modules["__main__"]
    hidden = {name: value for name, value in vars(main).items() if name in _NAMES}
    for name in hidden:
        del main.__dict__[name]
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def request_stop(*_: object) -> None:
    """Ask this process's run to stop; ignores its arguments, those of a signal handler."""
    _STOP.set()


def clear_stop() -> None:
    """Withdraw the request, so that later runs of this process are not stopped."""
    _STOP.clear()


def stop_requested() -> bool:
    """Return whether this process's run should stop."""
    return _STOP.is_set()
