"""Settings: what a search was asked for, kept in its study so that others join from anywhere."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage

from autoprune.errors import StudyError
from autoprune.search.failures import storage_failures

_SETTINGS = "settings"


def keep_settings(storage: BaseStorage, name: str, settings: Mapping[str, Any]) -> None:
    """Write what can be written as JSON to study `name`, in place of what an earlier search kept.

    Raises `StorageError`.
    """
    plain = json.loads(json.dumps(settings))
    with storage_failures():
        study = storage.get_study_id_from_name(name)
        if storage.get_study_user_attrs(study).get(_SETTINGS) != plain:
            storage.set_study_user_attr(study, _SETTINGS, plain)


def settings_of(storage: BaseStorage, name: str) -> dict[str, Any]:
    """Return the settings of study `name`; raises `StudyError` where there are none."""
    with storage_failures():
        names = optuna.get_all_study_names(storage)
        found: Any = None
        if name in names:
            found = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    if found is None:
        raise StudyError(
            f"no study {name!r} is kept there, but {', '.join(sorted(names)) or 'none at all'}: "
            "begin it with autoprune search"
        )
    if _SETTINGS not in found:
        raise StudyError(
            f"study {name} tells no worker how to join it: go on with it by autoprune search first"
        )
    return dict(found[_SETTINGS])
