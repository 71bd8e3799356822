"""Leases: a running trial's worker shows that it lives; one that is silent for long is dead."""

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

from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError

_PROC = Path("/proc")

_AT_WORK: set[str] = set()  # ids of this process that have not ended


@dataclass(frozen=True, slots=True)
class WorkerId:
    """A process at work on a study.

    `id` is random. `host`: where process numbers mean the same: host name, boot and namespace.
    `started`: the process's start in the host's ticks, 0 where the system does not tell it: a
    number that is used again is known by it.
    """

    id: str
    host: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Self:
        """Return this process under a new id."""
        return cls(uuid.uuid4().hex, _host(), os.getpid(), _start_of(os.getpid()) or 0)

    @classmethod
    def read(cls, value: Any) -> Self | None:
        """Return the holder that `as_value` wrote, None where there is none."""
        try:
            return cls(str(value["id"]), str(value["host"]), int(value["pid"]), value["started"])
        except (TypeError, KeyError, ValueError):
            return None

    def as_value(self) -> dict[str, str | int]:
        """Return what can be written as JSON."""
        return asdict(self)

    @property
    def named(self) -> str:
        """Host and number, for people."""
        return f"process {self.pid} on {self.host.partition('/')[0]}"

    def is_gone(self) -> bool:
        """Say whether it is known to be gone; of another host nothing is known from here."""
        if self.host != _host() or not self.started:
            return False
        if _start_of(self.pid) != self.started:
            return True
        return self.pid == os.getpid() and self.id not in _AT_WORK

    def is_here(self) -> bool:
        """Say whether it is a process of this host that is known to be there."""
        return self.host == _host() and bool(self.started) and not self.is_gone()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be at work inside the block; after it the id counts as gone, though its process lives."""
        _AT_WORK.add(self.id)
        try:
            yield
        finally:
            _AT_WORK.discard(self.id)


@lru_cache(maxsize=1)
def _host() -> str:
    """Return what tells this host's processes from others of the same number.

    Two containers can share the name of a host, or its boot, but not the namespace of processes.
    """
    name = platform.node() or "localhost"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{name}/{boot}/{(_PROC / 'self/ns/pid').readlink().name}"
    except OSError:  # not Linux
        return name


def _start_of(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None where none runs or none is told."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie does no work


HOLDER, CLAIM, BEAT = "worker", "claim", "beat"
"""User attributes of a claimed trial: who measures it, the claim's random id, and a number that
grows as long as the worker lives."""

HEARTBEAT_INTERVAL = 10.0
"""Seconds between two beats. One is about 140 bytes in a journal: 1.2 MB a day for each trial that
is under way."""

GRACE_PERIOD = 60.0
"""Seconds of silence after which a worker is thought dead."""


class StalenessMonitor:
    """Notes when counters were last seen to change, by this process's own clock.

    No time is ever compared with another machine's, and none is counted in which nobody looked:
    while a storage was out of reach no beat could come.
    """

    def __init__(
        self, patience: float, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience, self._most, self._clock = patience, 2 * every, clock
        self._last: float | None = None
        self._beats: dict[int, int] = {}
        self._silence: dict[int, float] = {}

    def look(self, beats: Mapping[int, int]) -> None:
        """Take the counters that can be read now, by trial id; the others are forgotten."""
        now = self._clock()
        passed = 0.0 if self._last is None else min(now - self._last, self._most)
        self._silence = {
            one: self._silence.get(one, 0.0) + passed if self._beats.get(one) == beat else 0.0
            for one, beat in beats.items()
        }
        self._beats, self._last = dict(beats), now

    def is_silent(self, one: int) -> bool:
        """Say whether a counter has not changed for longer than patience goes."""
        return self._silence.get(one, 0.0) > self._patience


class Heartbeat:
    """The trials that this process holds, and its view of those that others hold."""

    def __init__(
        self,
        storage: BaseStorage,
        study: int,
        every: float = HEARTBEAT_INTERVAL,
        patience: float = GRACE_PERIOD,
    ) -> None:
        self.holder = WorkerId.here()
        self._storage, self._study, self._every = storage, study, every
        self._observer = StalenessMonitor(patience, every)
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew all that is held, from a thread of its own, until the block ends."""
        thread = threading.Thread(target=self._renew, name="leases", daemon=True)
        with self.holder.at_work():
            thread.start()
            try:
                yield
            finally:
                self._over.set()
                thread.join(timeout=self._every)

    @property
    def held(self) -> list[int]:
        """The ids of the trials that this process holds."""
        return list(self._held)

    def hold(self, trial: int) -> None:
        """Renew the lease of a trial from now on."""
        self._held[trial] = 0

    def drop(self, trial: int) -> None:
        """Renew it no more: it has ended."""
        self._held.pop(trial, None)

    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the running trials whose worker is gone or was silent for too long."""
        others = [
            trial
            for trial in trials
            if trial.state == TrialState.RUNNING and trial._trial_id not in self._held
        ]
        with self._lock:
            self._observer.look(
                {trial._trial_id: int(trial.user_attrs.get(BEAT, 0)) for trial in others}
            )
            return [
                trial
                for trial in others
                if is_stale(trial) or self._observer.is_silent(trial._trial_id)
            ]

    def _renew(self) -> None:
        while not self._over.wait(self._every):
            # What fails here fails in the process's own calls too, which say so; one whose trial
            # has ended since is refused.
            with suppress(StorageError, OptunaError, SQLAlchemyError, OSError, RuntimeError):
                self.beat()
                self.dead(self._storage.get_all_trials(self._study, deepcopy=False))

    def beat(self) -> None:
        """Renew the lease of each trial held."""
        for trial in self.held:
            beats = self._held.get(trial)
            if beats is not None:
                self._held[trial] = beats + 1
                with suppress(RuntimeError):  # it has ended since
                    self._storage.set_trial_user_attr(trial, BEAT, beats + 1)


def is_stale(trial: FrozenTrial) -> bool:
    """Say whether the process that holds a trial is known to be gone."""
    holder = WorkerId.read(trial.user_attrs.get(HOLDER))
    return holder is not None and holder.is_gone()
