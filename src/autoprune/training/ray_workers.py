"""Ray: a crew whose jobs are tasks of a cluster, which places them and begins them again."""

import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

import torch

from autoprune.errors import OptionError, TrialError
from autoprune.interrupts import stop_requested
from autoprune.training.workers import MAX_ATTEMPTS, Executor, WorkerPool, available_cores

_P = ParamSpec("_P")

_T = TypeVar("_T")

_PAUSE = 0.5  # seconds between two looks whether the user wants to leave


def make_executor(
    workers: int, address: str | None, gpus: float | None, device: torch.device
) -> AbstractContextManager[Executor]:
    """Return who makes the runs: processes here, or tasks of the Ray cluster at `address`."""
    if address is None:
        return WorkerPool(workers)
    return RayWorkerPool(workers, address, float(device.type == "cuda") if gpus is None else gpus)


def check_ray(address: str | None, gpus: float | None, workers: int | None, pruner: str) -> None:
    """Raise `OptionError` for options that do not go together, or without the extra `ray`."""
    if address is None:
        if gpus is not None:
            raise OptionError("--gpus-per-worker is for tasks of a Ray cluster: add --ray auto")
        return
    if workers is None:
        raise OptionError("--ray needs --workers: how many tasks are at work at a time")
    if pruner != "none":
        raise OptionError(
            f"a pruner hears of a run's checks, which Ray's tasks do not tell, got --pruner "
            f"{pruner}: leave out --ray or the pruner"
        )
    _ray()


@dataclass(slots=True, eq=False)
class _Task:
    """A job, and Ray's reference to it once it is handed to the cluster."""

    call: Callable[[], Any]
    reference: Any = None


class RayWorkerPool:
    """Runs jobs as tasks of a Ray cluster, at most `workers` at a time.

    Each takes the cores that a process of `WorkerPool` would have here, and `gpus`. A task whose process
    or node dies is begun again on another, as often as in `WorkerPool`, and goes on from its checkpoint
    where the nodes share the study's folder. They must share the model's. A context manager:
    leaving it ends the tasks.
    """

    in_this_process = False

    def __init__(self, workers: int, address: str, gpus: float) -> None:
        self.workers = workers
        self._address, self._gpus = address, gpus
        self._threads = max(1, available_cores() // workers)
        self._queue: deque[_Task] = deque()
        self._at_work: list[_Task] = []

    def __enter__(self) -> Self:
        """Join the cluster; raises `OptionError` where there is none, or it lacks what is asked."""
        ray = _ray()
        mine = {"include_dashboard": False} if self._address == "local" else {}
        try:
            ray.init(
                address=self._address, log_to_driver=False, logging_level=logging.ERROR, **mine
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OptionError(f"cannot join a Ray cluster at {self._address}: {said}") from None
        here = ray.cluster_resources()
        for kind, asked in (("CPU", self._threads), ("GPU", self._gpus)):
            if here.get(kind, 0) < asked:
                ray.shutdown()
                raise OptionError(
                    f"a task needs {asked:g} {kind}, the Ray cluster at {self._address} has "
                    f"{here.get(kind, 0):g} in all: see --workers and --gpus-per-worker"
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _ray().shutdown()

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Begin `job` as soon as fewer than `workers` are at work; return what waits for its end.

        That raises what the job raised, `TrialError` where Ray gives the task up, and
        KeyboardInterrupt where this process was asked to leave.
        """
        mine = _Task(partial(job, *args, **named))
        self._queue.append(mine)
        self._hand_out()

        def outcome() -> _T:
            while mine.reference is None or mine in self._at_work:
                self._look()
                if stop_requested():
                    raise KeyboardInterrupt
            return cast(_T, _result(mine.reference))

        return outcome

    def _hand_out(self) -> None:
        task = (
            _ray()
            .remote(_do)
            .options(num_cpus=self._threads, num_gpus=self._gpus, max_retries=MAX_ATTEMPTS - 1)
        )
        while self._queue and len(self._at_work) < self.workers:
            mine = self._queue.popleft()
            mine.reference = task.remote(str(Path.cwd()), self._threads, mine.call)
            self._at_work.append(mine)

    def _look(self) -> None:
        """Wait a moment for the next task to end, and hand out what waits."""
        ended, _ = _ray().wait([mine.reference for mine in self._at_work], timeout=_PAUSE)
        self._at_work = [mine for mine in self._at_work if mine.reference not in ended]
        self._hand_out()


def _do(folder: str, threads: int, call: Callable[[], Any]) -> Any:
    """Do a job on a node, in the folder in which the command was given if it is seen there."""
    if Path(folder).is_dir():
        os.chdir(folder)
    torch.set_num_threads(threads)
    return call()


def _result(reference: Any) -> Any:
    ray = _ray()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[0]
        raise TrialError(f"Ray began it {MAX_ATTEMPTS} times and gave it up: {said}") from error


def _ray() -> ModuleType:
    """Return the package; raises `OptionError` where it is not installed.

    Read when Ray is loaded: it sends no statistics, and leaves standard output, where it would
    print the log of a node that died, to the result.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # every line
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise OptionError('--ray needs Ray: pip install "autoprune[ray]"') from None
    return cast(ModuleType, ray)
