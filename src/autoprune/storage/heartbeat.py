"""Heartbeat: a worker shows that it lives by a counter; one whose counter stops is stale."""

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import psutil
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError
from autoprune.storage.optuna_internals import trial_id_of

HOLDER, CLAIM, BEAT = "worker", "claim", "beat"
"""System attributes of a claimed trial: its worker, the claim's random id, and the heartbeat, a
number that grows while the worker lives. In older studies they are user attributes."""

HEARTBEAT_INTERVAL = 10.0
"""Seconds between two heartbeats. One takes about 140 bytes in a journal: 1.2 MB a day for each
running trial."""

# Errors of a heartbeat: the storage cannot be reached, or the study was deleted (KeyError).
HEARTBEAT_ERRORS = (StorageError, OptunaError, SQLAlchemyError, OSError, KeyError, RuntimeError)

GRACE_PERIOD = 60.0
"""Seconds without a heartbeat after which a worker counts as dead."""

_START_TOLERANCE = 150  # in 1/100 s: systems know the time of their boot to a second

_ACTIVE_IDS: set[str] = set()  # ids of this process whose work has not ended


@dataclass(frozen=True, slots=True)
class WorkerId:
    """A process that works on a study.

    id: random.
    host: names the processes that `pid` is unique among: host name, boot and process namespace.
    started: when the process started, in 1/100 s since boot, 0 if unknown. It tells a process from
        an earlier one with the same `pid`.
    """

    id: str
    host: str
    pid: int
    started: int

    @classmethod
    def of_this_process(cls) -> Self:
        """Return a new id for this process."""
        return cls(uuid.uuid4().hex, _host(), os.getpid(), _start_time(os.getpid()) or 0)

    @classmethod
    def from_dict(cls, value: Any) -> Self | None:
        """Return the worker that `to_dict` wrote, None if there is none."""
        try:
            return cls(str(value["id"]), str(value["host"]), int(value["pid"]), value["started"])
        except (TypeError, KeyError, ValueError):
            return None

    def to_dict(self) -> dict[str, str | int]:
        """Return the fields as JSON values."""
        return asdict(self)

    @property
    def description(self) -> str:
        """Process number and host, for messages."""
        return f"process {self.pid} on {self.host.partition('/')[0]}"

    def is_dead(self) -> bool:
        """Return whether it is known to be dead; of another host nothing is known here."""
        if self.host != _host() or not self.started:
            return False
        started = _start_time(self.pid)
        if started is None or abs(started - self.started) > _START_TOLERANCE:
            return True
        return self.pid == os.getpid() and self.id not in _ACTIVE_IDS

    def is_alive(self) -> bool:
        """Return whether it is known to be alive, as a process of this host."""
        return self.host == _host() and bool(self.started) and not self.is_dead()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count as alive inside the block; after it as dead, though the process lives on."""
        _ACTIVE_IDS.add(self.id)
        try:
            yield
        finally:
            _ACTIVE_IDS.discard(self.id)


@lru_cache(maxsize=1)
def _host() -> str:
    """Return what distinguishes this host's processes from others with the same number.

    Two containers can share the name of a host, or its boot, but not the process namespace.
    """
    name = platform.node() or "localhost"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{name}/{boot}/{Path('/proc/self/ns/pid').readlink().name}"
    except OSError:  # not Linux
        return name


def _start_time(pid: int) -> int | None:
    """Return when a process started, in 1/100 s since boot; None if it does not run."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        seconds = float(process.create_time() - psutil.boot_time())
        return round(100 * seconds)
    except psutil.Error:
        return None


class Heartbeat:
    """Sends the heartbeats of this process's trials, and finds the stale trials of others."""

    def __init__(
        self,
        storage: BaseStorage,
        study_id: int,
        interval: float = HEARTBEAT_INTERVAL,
        grace_period: float = GRACE_PERIOD,
    ) -> None:
        self.worker = WorkerId.of_this_process()
        self._storage, self._study_id, self._interval = storage, study_id, interval
        self._monitor = StalenessMonitor(grace_period, interval)
        self._beats: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send heartbeats from a thread until the block ends."""
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        with self.worker.active():
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join(timeout=self._interval)

    @property
    def held(self) -> list[int]:
        """The ids of the running trials of this process."""
        return list(self._beats)

    def hold(self, trial_id: int) -> None:
        """Send heartbeats for a trial from now on."""
        self._beats[trial_id] = 0

    def release(self, trial_id: int) -> None:
        """Send no more heartbeats for a trial: it has ended."""
        self._beats.pop(trial_id, None)

    def beat(self) -> None:
        """Send one heartbeat for each trial held."""
        for trial_id in self.held:
            beats = self._beats.get(trial_id)
            if beats is not None:
                self._beats[trial_id] = beats + 1
                with suppress(RuntimeError):  # the trial has just ended
                    self._storage.set_trial_system_attr(trial_id, BEAT, beats + 1)

    def stale_trials(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the running trials whose worker is dead or was silent for too long."""
        others = {
            trial_id_of(trial): trial
            for trial in trials
            if trial.state == TrialState.RUNNING and trial_id_of(trial) not in self._beats
        }
        with self._lock:
            self._monitor.update(
                {key: int(_attribute(trial, BEAT) or 0) for key, trial in others.items()}
            )
            return [
                trial
                for key, trial in others.items()
                if _worker_is_dead(trial) or self._monitor.is_stale(key)
            ]

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            # An error here also happens in the calls of the main thread, which report it.
            with suppress(*HEARTBEAT_ERRORS):
                self.beat()
                self.stale_trials(self._storage.get_all_trials(self._study_id, deepcopy=False))


def worker_of_trial(trial: FrozenTrial) -> WorkerId | None:
    """Return the worker that claimed a trial, None if it has none."""
    return WorkerId.from_dict(_attribute(trial, HOLDER))


def _worker_is_dead(trial: FrozenTrial) -> bool:
    worker = worker_of_trial(trial)
    return worker is not None and worker.is_dead()


def _attribute(trial: FrozenTrial, key: str) -> Any:
    return trial.system_attrs.get(key, trial.user_attrs.get(key))


class StalenessMonitor:
    """Measures how long counters have not changed, by this process's own clock.

    No time is compared with another machine's. Time in which nobody looked is not counted: while
    a storage could not be reached, no heartbeat could arrive.
    """

    def __init__(
        self,
        grace_period: float,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_period, self._longest_step, self._clock = grace_period, 2 * interval, clock
        self._last_update: float | None = None
        self._beats: dict[int, int] = {}
        self._silence: dict[int, float] = {}

    def update(self, beats: Mapping[int, int]) -> None:
        """Take the current counters, by trial id; others are forgotten."""
        now = self._clock()
        elapsed = 0.0
        if self._last_update is not None:
            elapsed = min(now - self._last_update, self._longest_step)
        self._silence = {
            key: self._silence.get(key, 0.0) + elapsed if self._beats.get(key) == beat else 0.0
            for key, beat in beats.items()
        }
        self._beats, self._last_update = dict(beats), now

    def is_stale(self, key: int) -> bool:
        """Return whether a counter has not changed for longer than the grace period."""
        return self._silence.get(key, 0.0) > self._grace_period
