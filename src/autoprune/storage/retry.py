"""Database retry: a storage that repeats calls which failed because it could not be reached."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Concatenate, ParamSpec, TypeVar

from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError
from autoprune.processes import stop_requested
from autoprune.retry import call_with_retry
from autoprune.storage.errors import failure_reason, is_transient
from autoprune.storage.heartbeat import CLAIM
from autoprune.storage.locks import ProposalLock, no_lock
from autoprune.storage.optuna_internals import trial_id_of
from autoprune.storage.rdb import BatchedRDBStorage

_P = ParamSpec("_P")

_T = TypeVar("_T")

RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0)
"""Seconds between the attempts of a search: about a minute in all."""

LONG_RETRY_DELAYS = RETRY_DELAYS + (10.0,) * 54
"""Seconds between the attempts of a worker: ten minutes in all, since nobody may restart it."""


def _retried(
    method: Callable[Concatenate[BaseStorage, _P], _T],
) -> Callable[Concatenate["RetryStorage", _P], _T]:
    """Return `method` of the inner storage, called with retries."""

    def retried(self: "RetryStorage", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        function: Callable[_P, _T] = getattr(self._inner, method.__name__)
        return self.call(function, *args, **kwargs)

    return retried


class RetryStorage(BaseStorage):
    """Passes each call to the storage `inner`, and retries it after each of `delays` seconds.

    A write may have succeeded although its answer was lost. So a repeated write changes nothing,
    or finds what it wrote before (`create_new_trial` by its claim). Raises `StorageError` when no
    attempt is left, any other failure at once, and KeyboardInterrupt when a stop is requested.

    `name` is the storage's name in messages. `proposal_lock` is shared by all processes that use
    the storage. `database` is what `inner` caches if it is a database, and `url` its URL with
    passwords.
    """

    def __init__(
        self,
        inner: BaseStorage,
        delays: Sequence[float],
        name: str,
        proposal_lock: ProposalLock = no_lock,
        database: BatchedRDBStorage | None = None,
        url: str = "",
    ) -> None:
        self._inner, self._delays, self.name, self._url = inner, delays, name, url
        self.proposal_lock, self.database = proposal_lock, database

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function of the storage with retries."""
        start = time.monotonic()
        try:
            return call_with_retry(
                partial(function, *args, **kwargs),
                is_transient,
                self.name,
                self._delays,
                sleep=_sleep,
                log_level=logging.DEBUG,
            )
        except (StorageInternalError, SQLAlchemyError, OSError) as error:
            if not is_transient(error):
                raise
            raise StorageError(
                f"storage {self.name} could not be reached for {time.monotonic() - start:.0f} "
                f"seconds: {failure_reason(error, self._url)}; what was measured before is kept, "
                "run the same command again"
            ) from None

    def _call_write(self, write: Callable[[bool], _T]) -> _T:
        """Call `write` with retries, with whether it is a retry."""
        attempts = count()
        return self.call(lambda: write(next(attempts) > 0))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, only once for each claim."""
        claim = None if template_trial is None else template_trial.system_attrs.get(CLAIM)

        def create(is_retry: bool) -> int:
            if is_retry and claim is not None:
                for trial in self._inner.get_all_trials(study_id, deepcopy=False):
                    if trial.system_attrs.get(CLAIM) == claim:
                        return trial_id_of(trial)
            return self._inner.create_new_trial(study_id, template_trial)

        return self._call_write(create)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; on a retry, that they are set already is no error."""

        def write(is_retry: bool) -> bool:
            try:
                return self._inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if is_retry and self._inner.get_trial(trial_id).state == state:
                    return True
                raise

        return self._call_write(write)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study; on a retry, take the one that exists already."""

        def create(is_retry: bool) -> int:
            try:
                return self._inner.create_new_study(directions, study_name)
            except DuplicatedStudyError:
                if is_retry and study_name is not None:
                    return self._inner.get_study_id_from_name(study_name)
                raise

        return self._call_write(create)

    delete_study = _retried(BaseStorage.delete_study)
    set_study_user_attr = _retried(BaseStorage.set_study_user_attr)
    set_study_system_attr = _retried(BaseStorage.set_study_system_attr)
    get_study_id_from_name = _retried(BaseStorage.get_study_id_from_name)
    get_study_name_from_id = _retried(BaseStorage.get_study_name_from_id)
    get_study_directions = _retried(BaseStorage.get_study_directions)
    get_study_user_attrs = _retried(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _retried(BaseStorage.get_study_system_attrs)
    get_all_studies = _retried(BaseStorage.get_all_studies)
    set_trial_param = _retried(BaseStorage.set_trial_param)
    get_trial_id_from_study_id_trial_number = _retried(
        BaseStorage.get_trial_id_from_study_id_trial_number
    )
    set_trial_intermediate_value = _retried(BaseStorage.set_trial_intermediate_value)
    set_trial_user_attr = _retried(BaseStorage.set_trial_user_attr)
    set_trial_system_attr = _retried(BaseStorage.set_trial_system_attr)
    get_trial = _retried(BaseStorage.get_trial)
    get_all_trials = _retried(BaseStorage.get_all_trials)

    def remove_session(self) -> None:
        """Release the connections of this thread."""
        self._inner.remove_session()


def _sleep(seconds: float) -> None:
    """Sleep; raises KeyboardInterrupt when a stop is requested."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stop_requested():
            raise KeyboardInterrupt
        time.sleep(min(left, 0.2))
