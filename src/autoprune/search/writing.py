"""What is written of a trial: in one transaction where a database holds it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from autoprune.search.patient import Patient


def tell(storage: BaseStorage, trial: int, told: Mapping[str, Any]) -> None:
    """Set user attributes of a trial; raises `UpdateFinishedTrialError`."""
    if isinstance(storage, Patient) and storage.database is not None:
        storage.call(storage.database.set_trial_user_attrs, trial, told)
        return
    for key, value in told.items():
        storage.set_trial_user_attr(trial, key, value)


def end(
    storage: BaseStorage,
    trial: int,
    told: Mapping[str, Any],
    state: TrialState,
    value: float | None = None,
) -> None:
    """Set user attributes of a trial, its state last; nothing where somebody else has ended it."""
    with suppress(UpdateFinishedTrialError):
        if isinstance(storage, Patient) and storage.database is not None:
            storage.call(storage.database.end, trial, told, state, value)
            return
        tell(storage, trial, told)
        storage.set_trial_state_values(trial, state, None if value is None else [value])
