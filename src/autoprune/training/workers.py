"""Process pool: worker processes that train candidates side by side; one that dies is replaced."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

import torch

from autoprune import processes
from autoprune.errors import TrialError
from autoprune.processes import no_main_module, stop_requested
from autoprune.training.budget import WIDE_HIDDEN_SIZE

MAX_ATTEMPTS = 3  # how often a job is started in all whose process was killed

_POLL_INTERVAL = 0.2  # seconds between two looks for a requested stop

_P = ParamSpec("_P")

_T = TypeVar("_T")


class Executor(Protocol):
    """Runs jobs side by side: a pool of processes, or something else that does so."""

    @property
    def workers(self) -> int:
        """How many jobs run at a time."""

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Start a job; see `WorkerPool.start`."""


class WorkerPool:
    """Runs jobs in `workers` processes, or if 1 in this one, when their result is asked for.

    The processes share the cores equally, and get one GPU each. A context manager: leaving it kills
    the processes. They also end when this process dies.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, available_cores() // workers)
        self._workers: list[Worker] = []
        self._queue: deque[Job] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.clear()
        while self._workers:
            self._workers.pop().kill()

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Start `job` as soon as a process is free; return a function that waits for its result.

        Job, arguments and result are pickled. A job whose process was killed is started again, so
        it should resume from a checkpoint. The function raises what the job raised, `TrialError`
        where its process was killed three times, and KeyboardInterrupt where a stop was requested.
        """
        if self.workers == 1:
            return lambda: job(*args, **named)
        queued = Job(partial(job, *args, **named))
        self._queue.append(queued)
        self._assign_jobs()

        def result() -> _T:
            while not queued.done:
                self._poll()
                if stop_requested() and not queued.done:
                    self._stop()
                    queued.error = queued.error or KeyboardInterrupt()
                    break
            if queued.error is not None:
                raise queued.error
            return cast(_T, queued.result)

        return result

    def _assign_jobs(self) -> None:
        """Give waiting jobs to free processes, which are started as they are needed."""
        while self._queue:
            worker = next((worker for worker in self._workers if worker.job is None), None)
            if worker is None:
                free = set(range(self.workers)) - {worker.number for worker in self._workers}
                if not free:
                    return
                worker = start_worker(min(free), self.threads)
                self._workers.append(worker)
            worker.job = self._queue.popleft()
            worker.send()

    def _poll(self) -> None:
        """Wait a moment for messages of the processes, and keep all of them busy."""
        assert self._workers, "the pool is open"
        readable = wait([worker.pipe for worker in self._workers], _POLL_INTERVAL)
        for worker in list(self._workers):
            if worker.pipe in readable and not worker.receive():
                self._remove_dead(worker)
        self._assign_jobs()

    def _remove_dead(self, worker: "Worker") -> None:
        """Queue the job of a dead process before all others, unless it died too often."""
        self._workers.remove(worker)
        worker.kill()
        job = worker.job
        if job is None:
            return
        job.deaths += 1
        if job.deaths < MAX_ATTEMPTS:
            self._queue.appendleft(job)
        else:
            job.done = True
            job.error = TrialError(
                f"its process was ended from outside {MAX_ATTEMPTS} times, maybe for lack of "
                "memory: try --workers 1"
            )

    def _stop(self) -> None:
        """Let the running jobs save their state and end; start no others."""
        self._queue.clear()
        for worker in self._workers:
            worker.process.terminate()
        while any(worker.job is not None for worker in self._workers):
            for worker in list(self._workers):
                if wait([worker.pipe], _POLL_INTERVAL) and not worker.receive():
                    self._workers.remove(worker)
                    worker.kill()


@dataclass(slots=True, eq=False)
class Job:
    """A call to be made in another process; `deaths` counts its processes that were killed.

    Once it is `done`, `result` or `error` is set.
    """

    call: Callable[[], Any]
    deaths: int = 0
    done: bool = False
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class Worker:
    """A process and the pipe to it; `ready` once it can take a job."""

    number: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    job: Job | None = None

    def receive(self) -> bool:
        """Read the message of the process; False if the process is dead."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if not self.ready:
            self.ready = True
            self.send()
        elif self.job is not None:
            self.job.result, self.job.error = message
            self.job.done = True
            self.job = None
        return True

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()

    def send(self) -> None:
        """Send the job to the process, which takes it once it is ready."""
        if self.ready and self.job is not None:
            try:
                self.pipe.send(self.job.call)
            except OSError:  # the process has just died: `receive` finds out
                return


def start_worker(number: int, threads: int) -> Worker:
    """Start a process, which sends a message as soon as it is ready."""
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=_work, args=(child_pipe, number, threads), daemon=True)
    with no_main_module():
        process.start()
    child_pipe.close()
    return Worker(number, process, pipe)


def device_for(number: int, visible: str | None, count: int) -> str | None:
    """Return CUDA_VISIBLE_DEVICES for process `number` of a machine with `count` GPUs.

    `visible` is its value in this process. None where there is no GPU.

    >>> [device_for(number, None, 2) for number in range(3)], device_for(1, "3,5", 2)
    (['0', '1', '0'], '5')
    """
    if count == 0:
        return None
    names = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    return names[number % len(names)]


def default_workers(hidden: int, device: torch.device) -> int:
    """Return how many processes train encoders `hidden` wide fastest: one for each GPU.

    On a processor a narrow model gains little from a second thread (12 layers, 128 wide, 16 tokens:
    nothing), so each core gets its own process; a wide one uses all cores, and needs more memory.
    """
    if device.type == "cuda":
        return max(1, int(torch.cuda.device_count()))
    return available_cores() if device.type == "cpu" and hidden < WIDE_HIDDEN_SIZE else 1


def available_cores() -> int:
    """Return how many cores this process may use; `OMP_NUM_THREADS` sets a limit."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def _work(pipe: Connection, number: int, threads: int) -> None:
    """Run the jobs that come through the pipe until it is closed."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, processes.request_stop)
    device = device_for(number, os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA starts, so it sees no other
    torch.set_num_threads(threads)
    pipe.send("ready")
    while True:
        try:
            call: Callable[[], Any] = pipe.recv()
        except EOFError:
            return
        pipe.send(_result_or_error(call))


def _result_or_error(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"in another process: {traceback.format_exc()}")
        return None, error


def _exit_with_parent() -> None:
    """End this process as soon as its parent has ended, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
