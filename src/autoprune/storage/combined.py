"""Combined storage: the studies of several storages in one, for the dashboard."""

from collections.abc import Container, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoprune.storage.optuna_internals import (
    FrozenStudy,
    study_id_of,
    trial_id_of,
    with_study_id,
    with_trial_id,
)

_MAX_IDS = 1 << 32  # ids within one storage are smaller; products are exact in JavaScript


class CombinedStorage(BaseStorage):
    """Shows the studies of all `storages`, with ids that tell which storage they are from.

    Each read reads the storages anew, so running studies are seen to grow. Each write goes to the
    storage of its study; unless `writable`, it raises `PermissionError`. No study can be created,
    since it is unclear in which storage.
    """

    def __init__(self, storages: Sequence[BaseStorage], writable: bool = False) -> None:
        self._storages = tuple(storages)
        self._writable = writable

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies, storage by storage."""
        return [
            with_study_id(study, index * _MAX_IDS + study_id_of(study))
            for index, storage in enumerate(self._storages)
            for study in storage.get_all_studies()
        ]

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the first study with this name; raises `KeyError`."""
        for study in self.get_all_studies():
            if study.study_name == study_name:
                return study_id_of(study)
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the study's name; raises `KeyError`."""
        storage, inner_id = self._find(study_id)
        return storage.get_study_name_from_id(inner_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the study's directions; raises `KeyError`."""
        storage, inner_id = self._find(study_id)
        return storage.get_study_directions(inner_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the study's user attributes; raises `KeyError`."""
        storage, inner_id = self._find(study_id)
        return storage.get_study_user_attrs(inner_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the study's system attributes; raises `KeyError`."""
        storage, inner_id = self._find(study_id)
        return storage.get_study_system_attrs(inner_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; raises `KeyError`."""
        storage, inner_id = self._find(trial_id)
        return with_trial_id(storage.get_trial(inner_id), trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the study's trials in order; raises `KeyError`."""
        storage, inner_id = self._find(study_id)
        trials = storage.get_all_trials(inner_id, deepcopy=deepcopy, states=states)
        offset = study_id - inner_id
        return [with_trial_id(trial, trial_id_of(trial) + offset) for trial in trials]

    def create_new_study(self, *_: object, **__: object) -> NoReturn:
        """Raise `PermissionError`: only a search creates a study."""
        raise PermissionError(
            "no study can be created here: a search creates it in its own storage"
        )

    def delete_study(self, study_id: int) -> None:
        """Delete the study; raises `KeyError`."""
        storage, inner_id = self._find_writable(study_id)
        storage.delete_study(inner_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a user attribute of the study; raises `KeyError`."""
        storage, inner_id = self._find_writable(study_id)
        storage.set_study_user_attr(inner_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of the study; raises `KeyError`."""
        storage, inner_id = self._find_writable(study_id)
        storage.set_study_system_attr(inner_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial and return its id; raises `KeyError`."""
        storage, inner_id = self._find_writable(study_id)
        return storage.create_new_trial(inner_id, template_trial) + study_id - inner_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial; raises `KeyError`."""
        storage, inner_id = self._find_writable(trial_id)
        storage.set_trial_param(inner_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state and values; return whether that was possible; raises `KeyError`."""
        storage, inner_id = self._find_writable(trial_id)
        return storage.set_trial_state_values(inner_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set an intermediate value of a trial; raises `KeyError`."""
        storage, inner_id = self._find_writable(trial_id)
        storage.set_trial_intermediate_value(inner_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a trial; raises `KeyError`."""
        storage, inner_id = self._find_writable(trial_id)
        storage.set_trial_user_attr(inner_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a trial; raises `KeyError`."""
        storage, inner_id = self._find_writable(trial_id)
        storage.set_trial_system_attr(inner_id, key, value)

    def _find_writable(self, outer_id: int) -> tuple[BaseStorage, int]:
        if not self._writable:
            raise PermissionError("these studies are read-only")
        return self._find(outer_id)

    def _find(self, outer_id: int) -> tuple[BaseStorage, int]:
        """Return the storage of a study or trial, and its id there."""
        index, inner_id = divmod(outer_id, _MAX_IDS)
        if not 0 <= index < len(self._storages):
            raise KeyError(outer_id)
        return self._storages[index], inner_id
