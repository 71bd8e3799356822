"""A crew: processes that train candidates side by side; one that dies is replaced."""

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
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

import torch

from autoprune import interrupts
from autoprune.errors import TrialError
from autoprune.interrupts import stop_requested
from autoprune.training.budget import WIDE_HIDDEN_SIZE

JobCall = Callable[[], Any]


@dataclass(slots=True, eq=False)
class Job:
    """A call to be made in another process; `deaths` of it ended that process from outside.

    `result` or `error` hold what came of it once it is `done`.
    """

    call: JobCall
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

    def give(self, job: Job) -> None:
        """Do `job` next."""
        self.job = job
        self._send()

    def hear(self) -> bool:
        """Take in what the process has said; False if it is dead."""
        try:
            told = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if not self.ready:
            self.ready = True
            self._send()
        elif self.job is not None:
            self.job.result, self.job.error = told
            self.job.done = True
            self.job = None
        return True

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()

    def _send(self) -> None:
        if self.ready and self.job is not None:
            try:
                self.pipe.send(self.job.call)
            except OSError:  # it died a moment ago, and `hear` finds out
                return


def start_worker(number: int, threads: int) -> Worker:
    """Start a process; it says when it is ready."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, number, threads), daemon=True)
    process.start()
    theirs.close()
    return Worker(number, process, mine)


def device_for(number: int, visible: str | None, count: int) -> str | None:
    """Return what CUDA_VISIBLE_DEVICES is to be in process `number`; None where no GPU is.

    >>> [device_for(number, None, 2) for number in range(3)], device_for(1, "3,5", 2)
    (['0', '1', '0'], '5')
    """
    if count == 0:
        return None
    names = visible.split(",")[:count] if visible else [str(place) for place in range(count)]
    return names[number % len(names)]


def _work(pipe: Connection, number: int, threads: int) -> None:
    """Do the jobs that come through the pipe until it is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    signal.signal(signal.SIGTERM, interrupts.request_stop)
    device = device_for(number, os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA starts, so it sees no other
    torch.set_num_threads(threads)
    pipe.send("ready")
    while True:
        try:
            call: JobCall = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(call))


def _outcome(call: JobCall) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"in another process: {traceback.format_exc()}")
        return None, error


def _end_with_parent() -> None:
    """Leave nothing at work when the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


_P = ParamSpec("_P")

_T = TypeVar("_T")

MAX_ATTEMPTS = 3  # a job whose process was ended from outside is begun so often in all

_PAUSE = 0.2  # seconds between two looks whether the user wants to leave


def default_workers(hidden: int, device: torch.device) -> int:
    """Return how many processes train encoders `hidden` wide best: one for each GPU.

    On a processor a narrow model gains little from a second thread (12 x 128, 16 tokens: nothing),
    so each core gets a process of its own; a wide one uses all cores, and holds more memory.
    """
    if device.type == "cuda":
        return max(1, int(torch.cuda.device_count()))
    return available_cores() if device.type == "cpu" and hidden < WIDE_HIDDEN_SIZE else 1


def available_cores() -> int:
    """Return how many cores this process may use; `OMP_NUM_THREADS` sets a limit."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(here, int(limit)) if limit.isdecimal() and int(limit) else here


class Executor(Protocol):
    """Who makes runs side by side: a crew of processes, or something that can stand in for it."""

    @property
    def workers(self) -> int:
        """How many runs are made at a time."""

    @property
    def in_this_process(self) -> bool:
        """Tell whether jobs run here, when their result is asked for."""

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Begin a job; see `WorkerPool.start`."""


class WorkerPool:
    """Runs jobs in `workers` processes, or in this one, when their result is asked for, if 1.

    The cores are shared out among the processes, and the GPUs, one each. A context manager:
    leaving it ends the processes at once. They also end when this process dies.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, available_cores() // workers)
        self._hands: list[Worker] = []
        self._queue: deque[Job] = deque()

    @property
    def in_this_process(self) -> bool:
        """Tell whether jobs run here, when their result is asked for."""
        return self.workers == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._queue.clear()
        while self._hands:
            self._hands.pop().end()

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Begin `job` as soon as a process is free; return a function that waits for its result.

        Job, arguments and result travel between processes, so they are plain values. A job whose
        process was killed is begun again, so it had better go on from what it kept. The function
        raises what the job raised, `TrialError` where its process was killed three times, and
        KeyboardInterrupt where it was asked to leave.
        """
        if self.in_this_process:
            return lambda: job(*args, **named)
        mine = Job(partial(job, *args, **named))
        self._queue.append(mine)
        self._hand_out()

        def outcome() -> _T:
            while not mine.done:
                self._look()
                if stop_requested() and not mine.done:
                    self._leave()
                    mine.error = mine.error or KeyboardInterrupt()
                    break
            if mine.error is not None:
                raise mine.error
            return cast(_T, mine.result)

        return outcome

    def _hand_out(self) -> None:
        """Give waiting jobs to free processes, started as they are needed."""
        while self._queue:
            hand = next((hand for hand in self._hands if hand.job is None), None)
            if hand is None:
                free = set(range(self.workers)) - {hand.number for hand in self._hands}
                if not free:
                    return
                hand = start_worker(min(free), self.threads)
                self._hands.append(hand)
            hand.give(self._queue.popleft())

    def _look(self) -> None:
        """Take in what the processes have to say, for a moment at most, and keep all at work."""
        assert self._hands, "the crew has not been left"
        said = wait([hand.pipe for hand in self._hands], _PAUSE)
        for hand in list(self._hands):
            if hand.pipe in said and not hand.hear():
                self._bury(hand)
        self._hand_out()

    def _bury(self, hand: Worker) -> None:
        """Queue the job of a dead process again, before others, unless it died too often."""
        self._hands.remove(hand)
        hand.end()
        job = hand.job
        if job is None:
            return
        job.deaths += 1
        if job.deaths < MAX_ATTEMPTS:
            self._queue.appendleft(job)
        else:
            job.done = True
            job.error = TrialError(
                f"its process was ended from outside {MAX_ATTEMPTS} times, maybe for lack of memory: "
                "try --workers 1"
            )

    def _leave(self) -> None:
        """Let the processes keep the state of their runs, and begin no more."""
        self._queue.clear()
        for hand in self._hands:
            hand.process.terminate()
        while any(hand.job is not None for hand in self._hands):
            for hand in list(self._hands):
                if wait([hand.pipe], _PAUSE) and not hand.hear():
                    self._hands.remove(hand)
                    hand.end()
