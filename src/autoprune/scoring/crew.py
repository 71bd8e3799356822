"""A crew: processes that train candidates side by side; one that dies is replaced."""

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar, cast

import torch

from autoprune.errors import TrialError
from autoprune.scoring.hand import Hand, Job, start
from autoprune.scoring.leaving import is_asked
from autoprune.scoring.rates import WIDE

_P = ParamSpec("_P")
_T = TypeVar("_T")

TRIES = 3  # a job whose process was ended from outside is begun so often in all

_PAUSE = 0.2  # seconds between two looks whether the user wants to leave


def workers_for(hidden: int, device: torch.device) -> int:
    """Return how many processes train encoders `hidden` wide best: one for each GPU.

    On a processor a narrow model gains little from a second thread (12 x 128, 16 tokens: nothing),
    so each core gets a process of its own; a wide one uses all cores, and holds more memory.
    """
    if device.type == "cuda":
        return max(1, int(torch.cuda.device_count()))
    return cores() if device.type == "cpu" and hidden < WIDE else 1


def cores() -> int:
    """Return how many cores this process may use; `OMP_NUM_THREADS` sets a limit."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(here, int(limit)) if limit.isdecimal() and int(limit) else here


class Team(Protocol):
    """Who makes runs side by side: a crew of processes, or something that can stand in for it."""

    @property
    def workers(self) -> int:
        """How many runs are made at a time."""

    @property
    def in_this_process(self) -> bool:
        """Tell whether jobs run here, when their result is asked for."""

    def start(self, job: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> Callable[[], _T]:
        """Begin a job; see `Crew.start`."""


class Crew:
    """Runs jobs in `workers` processes, or in this one, when their result is asked for, if 1.

    The cores are shared out among the processes, and the GPUs, one each. A context manager:
    leaving it ends the processes at once. They also end when this process dies.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, cores() // workers)
        self._hands: list[Hand] = []
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
                if is_asked() and not mine.done:
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
                hand = start(min(free), self.threads)
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

    def _bury(self, hand: Hand) -> None:
        """Queue the job of a dead process again, before others, unless it died too often."""
        self._hands.remove(hand)
        hand.end()
        job = hand.job
        if job is None:
            return
        job.deaths += 1
        if job.deaths < TRIES:
            self._queue.appendleft(job)
        else:
            job.done = True
            job.error = TrialError(
                f"its process was ended from outside {TRIES} times, maybe for lack of memory: "
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
