"""Combined storage: the studies of several storages in one, for the dashboard."""

from collections.abc import Callable, Container, Sequence
from inspect import signature
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from autoprune.storage.optuna_internals import (
    FrozenStudy,
    study_id_of,
    trial_id_of,
    with_study_id,
    with_trial_id,
)

_P = ParamSpec("_P")

_T = TypeVar("_T")

_MAX_IDS = 1 << 32  # ids within one storage are smaller; products are exact in JavaScript


def _forwarded(
    method: Callable[Concatenate[BaseStorage, _P], _T], writes: bool = False
) -> Callable[Concatenate["CombinedStorage", _P], _T]:
    """Return `method` for the storage that its first argument, an id, belongs to."""

    def forward(self: "CombinedStorage", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        _, outer_id, *rest = signature(method).bind(self, *args, **kwargs).args
        storage, inner_id = self._find(outer_id, writes)
        result: _T = getattr(storage, method.__name__)(inner_id, *rest)
        return result

    return forward


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

    get_study_name_from_id = _forwarded(BaseStorage.get_study_name_from_id)
    get_study_directions = _forwarded(BaseStorage.get_study_directions)
    get_study_user_attrs = _forwarded(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _forwarded(BaseStorage.get_study_system_attrs)

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

    delete_study = _forwarded(BaseStorage.delete_study, writes=True)
    set_study_user_attr = _forwarded(BaseStorage.set_study_user_attr, writes=True)
    set_study_system_attr = _forwarded(BaseStorage.set_study_system_attr, writes=True)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial and return its id; raises `KeyError`."""
        storage, inner_id = self._find(study_id, writes=True)
        return storage.create_new_trial(inner_id, template_trial) + study_id - inner_id

    set_trial_param = _forwarded(BaseStorage.set_trial_param, writes=True)
    set_trial_state_values = _forwarded(BaseStorage.set_trial_state_values, writes=True)
    set_trial_intermediate_value = _forwarded(BaseStorage.set_trial_intermediate_value, writes=True)
    set_trial_user_attr = _forwarded(BaseStorage.set_trial_user_attr, writes=True)
    set_trial_system_attr = _forwarded(BaseStorage.set_trial_system_attr, writes=True)

    def _find(self, outer_id: int, writes: bool = False) -> tuple[BaseStorage, int]:
        """Return the storage of a study or trial, and its id there."""
        if writes and not self._writable:
            raise PermissionError("these studies are read-only")
        index, inner_id = divmod(outer_id, _MAX_IDS)
        if not 0 <= index < len(self._storages):
            raise KeyError(outer_id)
        return self._storages[index], inner_id
