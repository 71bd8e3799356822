"""Optuna internals: every private name of Optuna that autoprune depends on.

Nothing else in autoprune imports a private module of Optuna or reads a private attribute.
`tests/storage/test_optuna_internals.py` fails where a new version of Optuna changes one of them.
"""

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages.journal._storage import JournalOperation
from optuna.study import Study
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

__all__ = ["FrozenStudy"]

JOURNAL_OPERATIONS = frozenset(operation.value for operation in JournalOperation)
"""The `op_code`s of a journal's entries."""

STUDIES: Any = models.StudyModel.__table__
TRIALS: Any = models.TrialModel.__table__
PARAMS: Any = models.TrialParamModel.__table__
VALUES: Any = models.TrialValueModel.__table__
USER_ATTRIBUTES: Any = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: Any = models.TrialSystemAttributeModel.__table__
INTERMEDIATE_VALUES: Any = models.TrialIntermediateValueModel.__table__

STUDY_NOT_FOUND: str = models.NOT_FOUND_MSG

value_to_stored = models.TrialValueModel.value_to_stored_repr
value_from_stored = models.TrialValueModel.stored_repr_to_value
intermediate_value_to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
intermediate_value_from_stored = (
    models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
)


def trial_id_of(trial: FrozenTrial) -> int:
    """Return the id of a trial in its storage."""
    return trial._trial_id


def study_id_of(study: Study | FrozenStudy) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def storage_of(study: Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def with_trial_id(trial: FrozenTrial, trial_id: int) -> FrozenTrial:
    """Return a shallow copy of `trial` with another id."""
    copied = copy.copy(trial)
    copied._trial_id = trial_id
    return copied


def with_study_id(study: FrozenStudy, study_id: int) -> FrozenStudy:
    """Return a shallow copy of `study` with another id."""
    copied = copy.copy(study)
    copied._study_id = study_id
    return copied


class RDBStorageHooks(RDBStorage):
    """An `RDBStorage` whose two slowest methods, which Optuna keeps private, can be replaced."""

    read_trials = RDBStorage._get_trials
    insert_trial = RDBStorage._create_new_trial

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.read_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        return self.insert_trial(study_id, template_trial)
