"""Peak memory of a function that runs in a new process."""

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


def run_in_subprocess(job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> tuple[_T, int]:
    """Run `job` in a new process; return its result and the process's peak memory in bytes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, job, args, named).result()


def peak_memory() -> int:
    """Return the peak memory of this process in bytes.

    On Linux `ru_maxrss` is inherited from the parent where that was larger, so the kernel's
    figure for this process alone is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        assert found is not None, "Linux has this line"
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _run(job: Callable[..., _T], args: tuple[Any, ...], named: dict[str, Any]) -> tuple[_T, int]:
    result = job(*args, **named)
    return result, peak_memory()
