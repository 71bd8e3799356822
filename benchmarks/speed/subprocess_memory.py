"""A job in a fresh process of its own, with the most memory that it ever held."""

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> tuple[_T, int]:
    """Return what `job` returns in a fresh process, and the process's peak memory in bytes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, job, args, named).result()


def peak() -> int:
    """Return the most memory that this process held at once, in bytes.

    On Linux `ru_maxrss` is inherited from the parent where that was larger, so the kernel's
    high-water mark of this process alone is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        assert found is not None, "the kernel tells it"
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _run(job: Callable[..., _T], args: tuple[Any, ...], named: dict[str, Any]) -> tuple[_T, int]:
    result = job(*args, **named)
    return result, peak()
