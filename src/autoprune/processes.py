"""Processes: start child processes that do not run the caller's script again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("__file__", "__spec__")  # by which multiprocessing finds the main module


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
