"""Ray: an executor whose jobs are tasks of a cluster, which places and retries them."""

import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, Self, TypeVar, cast

import torch

from autoprune.errors import OptionError, TrialError, missing_package
from autoprune.processes import stop_requested
from autoprune.training.devices import limited_threads
from autoprune.training.workers import MAX_ATTEMPTS, Executor, WorkerPool, available_cores

_POLL_INTERVAL = 0.5  # seconds between two looks for a requested stop

_P = ParamSpec("_P")

_T = TypeVar("_T")


def make_executor(
    workers: int, address: str | None, gpus: float | None, device: torch.device
) -> AbstractContextManager[Executor]:
    """Return what runs jobs: processes here, or tasks of the Ray cluster at `address`."""
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
        raise OptionError("--ray needs --workers: how many tasks run at a time")
    if pruner != "none":
        raise OptionError(
            "a pruner needs the evaluations of a run while it goes on, which Ray's tasks do not "
            f"report, got --pruner {pruner}: leave out --ray or --pruner"
        )
    _import_ray()


class RayWorkerPool:
    """Runs jobs as tasks of a Ray cluster, at most `workers` at a time.

    Each task takes as many cores as a process of `WorkerPool` would have here, and `gpus`. A task
    whose process or node dies is retried on another, as often as in `WorkerPool`; it resumes from
    its checkpoint where the nodes share the study's folder. They must share the model's folder. A
    context manager: leaving it ends the tasks.
    """

    def __init__(self, workers: int, address: str, gpus: float) -> None:
        self.workers = workers
        self._address, self._gpus = address, gpus
        self._threads = max(1, available_cores() // workers)
        self._queue: deque[_Task] = deque()
        self._running: list[_Task] = []

    def __enter__(self) -> Self:
        """Join the cluster; raises `OptionError` where there is none, or it is too small."""
        ray = _import_ray()
        options = {"include_dashboard": False} if self._address == "local" else {}
        try:
            ray.init(
                address=self._address, log_to_driver=False, logging_level=logging.ERROR, **options
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OptionError(f"cannot join a Ray cluster at {self._address}: {reason}") from None
        available = ray.cluster_resources()
        for kind, needed in (("CPU", self._threads), ("GPU", self._gpus)):
            if available.get(kind, 0) < needed:
                ray.shutdown()
                raise OptionError(
                    f"a task needs {needed:g} {kind}, the Ray cluster at {self._address} has "
                    f"{available.get(kind, 0):g} in all: see --workers and --gpus-per-worker"
                )
        return self

    def __exit__(self, *_: object) -> None:
        _import_ray().shutdown()

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Start `job` as soon as fewer than `workers` run; return what waits for its result.

        That raises what the job raised, `TrialError` where Ray gives the task up, and
        KeyboardInterrupt where a stop was requested in this process.
        """
        task = _Task(partial(job, *args, **named))
        self._queue.append(task)
        self._submit_tasks()

        def result() -> _T:
            while task.reference is None or task in self._running:
                self._poll()
                if stop_requested():
                    raise KeyboardInterrupt
            return cast(_T, _get_result(task.reference))

        return result

    def _submit_tasks(self) -> None:
        remote = (
            _import_ray()
            .remote(_run_job)
            .options(num_cpus=self._threads, num_gpus=self._gpus, max_retries=MAX_ATTEMPTS - 1)
        )
        while self._queue and len(self._running) < self.workers:
            task = self._queue.popleft()
            task.reference = remote.remote(str(Path.cwd()), self._threads, task.call)
            self._running.append(task)

    def _poll(self) -> None:
        """Wait a moment for the next task to end, and submit those that wait."""
        references = [task.reference for task in self._running]
        ended, _ = _import_ray().wait(references, timeout=_POLL_INTERVAL)
        self._running = [task for task in self._running if task.reference not in ended]
        self._submit_tasks()


@dataclass(slots=True, eq=False)
class _Task:
    """A job, and Ray's reference to it once it is submitted."""

    call: Callable[[], Any]
    reference: Any = None


def _run_job(folder: str, threads: int, call: Callable[[], Any]) -> Any:
    """Run a job on a node, in the working folder of the command if the node has it."""
    if Path(folder).is_dir():
        os.chdir(folder)
    with limited_threads(threads):
        return call()


def _get_result(reference: Any) -> Any:
    ray = _import_ray()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise TrialError(f"Ray started it {MAX_ATTEMPTS} times and gave it up: {reason}") from error


def _import_ray() -> ModuleType:
    """Return the package; raises `OptionError` where it is not installed.

    Ray reads two variables at its import: it sends no statistics, and does not print the log of a
    node that died on standard output, where the result is printed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # every line
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise missing_package("--ray", "autoprune[ray]") from None
    return cast(ModuleType, ray)
