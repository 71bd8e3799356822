"""A crew: processes that train candidates side by side, the cores shared out among them."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import torch

from autoprune.errors import TrialError
from autoprune.scoring.rates import WIDE

_P = ParamSpec("_P")
_T = TypeVar("_T")


def workers_for(hidden: int, device: torch.device) -> int:
    """Return how many processes train encoders `hidden` wide best: 1 on a GPU.

    On a processor a narrow model gains little from a second thread (12 x 128, 16 tokens: nothing),
    so each core gets a process of its own; a wide one uses all cores, and holds more memory.
    """
    return cores() if device.type == "cpu" and hidden < WIDE else 1


def cores() -> int:
    """Return how many cores this process may use; `OMP_NUM_THREADS` sets a limit."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(here, int(limit)) if limit.isdecimal() and int(limit) else here


class Crew:
    """Runs jobs in `workers` processes, or in this one, when their result is asked for, if 1.

    A context manager: leaving it with an error, or by Ctrl-C, ends the processes at once.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, cores() // workers)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.workers > 1:
            self._pool = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _set_up, (self.threads,)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Begin `job` as soon as a process is free; return a function that waits for its result.

        Job, arguments and result travel between processes, so they are plain values. That function
        raises what the job raised, and `TrialError` where its process was killed.
        """
        if self._pool is None:
            return lambda: job(*args, **named)
        future = self._pool.submit(job, *args, **named)

        def wait() -> _T:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise TrialError(
                    "a training process was ended from outside, maybe for lack of memory: "
                    "try --workers 1"
                ) from error

        return wait


def _set_up(threads: int) -> None:
    """Prepare a process of the crew: its share of the cores; Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
