"""Undoing: a study that was begun, and is not wanted after all, is taken out of its storage."""

import optuna
from optuna.storages import BaseStorage

from autoprune.search.failures import storage_failures


def is_begun(storage: BaseStorage, name: str) -> bool:
    """Tell whether study `name` is in `storage`; raises `StorageError`."""
    with storage_failures():
        return name in optuna.get_all_study_names(storage)


def undo_begin(storage: BaseStorage, name: str) -> None:
    """Delete study `name`, unless somebody has made trials of it; raises `StorageError`.

    The caller leads it, so that no other search has begun to work on it.
    """
    with storage_failures():
        study = storage.get_study_id_from_name(name)
        if not storage.get_all_trials(study, deepcopy=False):
            storage.delete_study(study)
