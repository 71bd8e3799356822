"""A patient storage: calls that fail for want of a connection are made again, for a while."""

import time
from collections.abc import Callable, Container, Sequence
from typing import Any, ParamSpec, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError
from autoprune.interrupts import stop_requested
from autoprune.storage.errors import failure_reason, is_transient
from autoprune.storage.heartbeat import CLAIM
from autoprune.storage.locks import ProposalLock, no_lock
from autoprune.storage.rdb import BatchedRDBStorage

_P = ParamSpec("_P")

_T = TypeVar("_T")

RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0)
"""Seconds between the tries of a search: about a minute in all."""

LONG_RETRY_DELAYS = RETRY_DELAYS + (10.0,) * 54
"""Those of a worker: ten minutes. Nobody may be near to start it again."""


class RetryStorage(BaseStorage):
    """Hands every call to `inner`; those that may succeed later are made again after each pause.

    A write whose answer was lost may have been made: one that is made again changes nothing, or
    finds what it wrote (`create_new_trial` by its claim). Raises `StorageError` when no try is
    left, at once where a later one cannot help, and KeyboardInterrupt when asked to leave.
    `turn` is how processes at work on a study there take turns; `database` is what `inner` reads
    and writes, where that is one, `url` where that is, its passwords in it.
    """

    def __init__(
        self,
        inner: BaseStorage,
        pauses: Sequence[float],
        shown: str,
        turn: ProposalLock = no_lock,
        database: BatchedRDBStorage | None = None,
        url: str = "",
    ) -> None:
        self._inner, self._pauses, self._shown, self._url = inner, pauses, shown, url
        self.turn, self.database = turn, database

    def call(self, call: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> _T:
        """Make a call of the storage, again and again where it may succeed later."""
        began = time.monotonic()
        for pause in (*self._pauses, None):
            try:
                return call(*args, **named)
            except (StorageInternalError, SQLAlchemyError, OSError) as error:
                if not is_transient(error):
                    raise
                if pause is None:
                    raise StorageError(
                        f"storage {self._shown} could not be reached for "
                        f"{time.monotonic() - began:.0f} seconds: {failure_reason(error, self._url)}; "
                        "what was measured before is kept, run the same command again"
                    ) from None
            _sleep(pause)
        raise AssertionError("the last try returns or raises")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, once for each claim."""
        mark = None if template_trial is None else template_trial.user_attrs.get(CLAIM)
        tried = False

        def create() -> int:
            nonlocal tried
            if tried and mark is not None:
                for trial in self._inner.get_all_trials(study_id, deepcopy=False):
                    if trial.user_attrs.get(CLAIM) == mark:
                        return trial._trial_id
            tried = True
            return self._inner.create_new_trial(study_id, template_trial)

        return self.call(create)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; when made again, the end that an earlier try wrote is no error."""
        tried = False

        def write() -> bool:
            nonlocal tried
            again, tried = tried, True
            try:
                return self._inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and self._inner.get_trial(trial_id).state == state:
                    return True
                raise

        return self.call(write)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study; when made again, the one that an earlier try wrote is taken."""
        tried = False

        def create() -> int:
            nonlocal tried
            again, tried = tried, True
            try:
                return self._inner.create_new_study(directions, study_name)
            except DuplicatedStudyError:
                if again and study_name is not None:
                    return self._inner.get_study_id_from_name(study_name)
                raise

        return self.call(create)

    def delete_study(self, study_id: int) -> None:
        """Delete a study."""
        self.call(self._inner.delete_study, study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a study."""
        self.call(self._inner.set_study_user_attr, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a study."""
        self.call(self._inner.set_study_system_attr, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return a study's id."""
        return self.call(self._inner.get_study_id_from_name, study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return a study's name."""
        return self.call(self._inner.get_study_name_from_id, study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return a study's directions."""
        return self.call(self._inner.get_study_directions, study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return a study's user attributes."""
        return self.call(self._inner.get_study_user_attrs, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return a study's system attributes."""
        return self.call(self._inner.get_study_system_attrs, study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies."""
        return self.call(self._inner.get_all_studies)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial."""
        self.call(
            self._inner.set_trial_param, trial_id, param_name, param_value_internal, distribution
        )

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of a study's trial."""
        call = self._inner.get_trial_id_from_study_id_trial_number
        return self.call(call, study_id, trial_number)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set what a trial reported at a step."""
        self.call(self._inner.set_trial_intermediate_value, trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a trial."""
        self.call(self._inner.set_trial_user_attr, trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a trial."""
        self.call(self._inner.set_trial_system_attr, trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return self.call(self._inner.get_trial, trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials by number."""
        return self.call(self._inner.get_all_trials, study_id, deepcopy, states)

    def remove_session(self) -> None:
        """Let go of connections."""
        self._inner.remove_session()


def _sleep(seconds: float) -> None:
    """Sleep, unless this process is asked to leave."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop_requested():
            raise KeyboardInterrupt
        time.sleep(min(left, 0.2))
