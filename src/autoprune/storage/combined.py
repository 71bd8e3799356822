"""Several storages seen as one, to be read or to be changed study by study."""

import copy
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

_ROOM = 1 << 32  # numbers of studies and trials within one storage stay below; exact in JavaScript


class CombinedStorage(BaseStorage):
    """Shows the studies of all `storages`, those of a later one under higher numbers.

    What is read is what the storages hold at that moment, so that running studies are seen to grow.
    Unless `writable`, every method that writes raises `PermissionError`; else what is written goes
    to the storage that holds the study. No study can be created: none would know where to go.
    """

    def __init__(self, storages: Sequence[BaseStorage], writable: bool = False) -> None:
        self._storages = tuple(storages)
        self._writable = writable

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies, storage by storage."""
        found = []
        for place, storage in enumerate(self._storages):
            for study in storage.get_all_studies():
                shown = copy.copy(study)
                shown._study_id = place * _ROOM + study._study_id
                found.append(shown)
        return found

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number of the first study called so; raises `KeyError`."""
        for study in self.get_all_studies():
            if study.study_name == study_name:
                return study._study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the study's name; raises `KeyError`."""
        storage, own = self._find(study_id)
        return storage.get_study_name_from_id(own)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the study's directions; raises `KeyError`."""
        storage, own = self._find(study_id)
        return storage.get_study_directions(own)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what users wrote about the study; raises `KeyError`."""
        storage, own = self._find(study_id)
        return storage.get_study_user_attrs(own)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what Optuna wrote about the study; raises `KeyError`."""
        storage, own = self._find(study_id)
        return storage.get_study_system_attrs(own)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial by its number over all storages; raises `KeyError`."""
        storage, own = self._find(trial_id)
        return _numbered(storage.get_trial(own), trial_id - own)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the study's trials in order; raises `KeyError`."""
        storage, own = self._find(study_id)
        trials = storage.get_all_trials(own, deepcopy=deepcopy, states=states)
        return [_numbered(trial, study_id - own) for trial in trials]

    def create_new_study(self, *_: object, **__: object) -> NoReturn:
        """Refuse: a study is begun by a search, in a folder of its own."""
        raise PermissionError("no study can be created among those gathered here")

    def delete_study(self, study_id: int) -> None:
        """Delete the study; raises `KeyError`."""
        storage, own = self._change(study_id)
        storage.delete_study(own)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write what a user says about the study; raises `KeyError`."""
        storage, own = self._change(study_id)
        storage.set_study_user_attr(own, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write what Optuna says about the study; raises `KeyError`."""
        storage, own = self._change(study_id)
        storage.set_study_system_attr(own, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial and return its number over all storages; raises `KeyError`."""
        storage, own = self._change(study_id)
        return storage.create_new_trial(own, template_trial) + study_id - own

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial; raises `KeyError`."""
        storage, own = self._change(trial_id)
        storage.set_trial_param(own, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state and values, and tell whether it was done; raises `KeyError`."""
        storage, own = self._change(trial_id)
        return storage.set_trial_state_values(own, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set what a trial reported at a step; raises `KeyError`."""
        storage, own = self._change(trial_id)
        storage.set_trial_intermediate_value(own, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write what a user says about a trial; raises `KeyError`."""
        storage, own = self._change(trial_id)
        storage.set_trial_user_attr(own, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write what Optuna says about a trial; raises `KeyError`."""
        storage, own = self._change(trial_id)
        storage.set_trial_system_attr(own, key, value)

    def _change(self, number: int) -> tuple[BaseStorage, int]:
        if not self._writable:
            raise PermissionError("the studies gathered here can only be read")
        return self._find(number)

    def _find(self, number: int) -> tuple[BaseStorage, int]:
        place, own = divmod(number, _ROOM)
        if not 0 <= place < len(self._storages):
            raise KeyError(number)
        return self._storages[place], own


def _numbered(trial: FrozenTrial, offset: int) -> FrozenTrial:
    shown = copy.copy(trial)
    shown._trial_id += offset
    return shown
