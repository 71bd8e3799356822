"""A hand: one process of a crew, which does a job at a time and ends with its parent."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from autoprune.scoring import leaving

Call = Callable[[], Any]


@dataclass(slots=True, eq=False)
class Job:
    """A call to be made in another process; `deaths` of it ended that process from outside.

    `result` or `error` hold what came of it once it is `done`.
    """

    call: Call
    deaths: int = 0
    done: bool = False
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class Hand:
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


def start(number: int, threads: int) -> Hand:
    """Start a process; it says when it is ready."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, number, threads), daemon=True)
    process.start()
    theirs.close()
    return Hand(number, process, mine)


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
    signal.signal(signal.SIGTERM, leaving.ask)
    device = device_for(number, os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA starts, so it sees no other
    torch.set_num_threads(threads)
    pipe.send("ready")
    while True:
        try:
            call: Call = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(call))


def _outcome(call: Call) -> tuple[Any, BaseException | None]:
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
