"""Leases: a running trial's worker shows that it lives; one that is silent for long is dead."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError
from autoprune.search.holder import Holder
from autoprune.search.marks import BEAT, HOLDER

EVERY = 10.0
"""Seconds between two beats. One is about 140 bytes in a journal: 1.2 MB a day for each trial that
is under way."""

PATIENCE = 60.0
"""Seconds of silence after which a worker is thought dead."""


class Observer:
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


class Leases:
    """The trials that this process holds, and its view of those that others hold."""

    def __init__(
        self, storage: BaseStorage, study: int, every: float = EVERY, patience: float = PATIENCE
    ) -> None:
        self.holder = Holder.here()
        self._storage, self._study, self._every = storage, study, every
        self._observer = Observer(patience, every)
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
                if is_gone(trial) or self._observer.is_silent(trial._trial_id)
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


def is_gone(trial: FrozenTrial) -> bool:
    """Say whether the process that holds a trial is known to be gone."""
    holder = Holder.read(trial.user_attrs.get(HOLDER))
    return holder is not None and holder.is_gone()
