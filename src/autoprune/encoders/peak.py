"""Peak memory: what a job needs beyond what its process holds anyway, in a process of its own."""

import ctypes
import gc
import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from autoprune.errors import OptionError

_STATUS = Path("/proc/self/status")


def peak_bytes(job: Callable[[], object], device: torch.device, preload: str = __name__) -> int:
    """Run `job` in a fresh process and return the most memory it took at once, in bytes.

    On a GPU its memory; else the process's high-water mark minus what it holds once the job's
    result is dropped, so that neither Python nor the libraries' code count. `preload` is a module
    that processes start with. Raises what `job` raises, and `OptionError` where it is killed.
    """
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":  # it loads torch once, each job gets a fork of it
        context.set_forkserver_preload([preload])
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_peak, job, device.type, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise OptionError(
                "measuring peak memory was ended from outside, maybe for lack of memory: "
                "try a smaller --batch"
            ) from error


def _peak(job: Callable[[], object], device: str, threads: int) -> int:
    torch.set_num_threads(threads)
    before = _high_water()
    job()
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    gc.collect()
    if not _STATUS.exists():  # macOS: no way to ask what is held now
        return _high_water() - before
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # glibc keeps what is freed
        ctypes.CDLL(None).malloc_trim(0)
    held, most = _field("VmRSS"), _field("VmHWM")
    return max(0, most - held)


def _high_water() -> int:
    if _STATUS.exists():
        return _field("VmHWM")
    # Bytes on macOS. On Linux it would be KiB, and that of the parent process if that was higher.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _field(name: str) -> int:
    """Return a field of this process's status (Linux), in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    assert found is not None, "the kernel tells it"
    return 1024 * int(found[1])
