"""What a study is about: written when it begins, compared when it goes on."""

import warnings
from collections.abc import Mapping

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection

from autoprune.errors import StudyError

Value = str | int | float | None

_MARK = "autoprune"
_SCHEMA = 2  # 1 had one seed for all trials and no fidelity


def begin(storage: BaseStorage, name: str, identity: Mapping[str, Value]) -> Study:
    """Create study `name`, or load it if it is about the same.

    `identity` goes into the study's user attributes. Raises `StudyError` naming what differs, or
    if the study was not made by autoprune.
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    if _MARK in study.user_attrs:
        _compare(study, identity)
    else:
        _describe(study, identity)
    return study


def _describe(study: Study, identity: Mapping[str, Value]) -> None:
    """Write the identity, its mark last: a study without the mark was never begun."""
    unknown = set(study.user_attrs) - set(identity)
    if unknown or study.get_trials(deepcopy=False) or study.directions != [StudyDirection.MAXIMIZE]:
        raise StudyError(
            f"study {study.study_name} was not begun by autoprune: use another --study name"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(["validation quality"])
    for key, value in identity.items():
        study.set_user_attr(key, value)
    study.set_user_attr(_MARK, {"schema": _SCHEMA, "identity": list(identity)})


def join(storage: BaseStorage, name: str, identity: Mapping[str, Value]) -> Study:
    """Load study `name`, which must be about the same; raises `StudyError` naming what differs."""
    study = optuna.load_study(study_name=name, storage=storage)
    if differ := _differences(study, identity):
        raise StudyError(
            f"a worker must have what study {name} was begun with: {differ}; bring model and data "
            "to what they were there"
        )
    return study


def _compare(study: Study, identity: Mapping[str, Value]) -> None:
    if differ := _differences(study, identity):
        raise StudyError(
            f"study {study.study_name} was begun with {differ}: "
            "use the same, or another --study name"
        )


def _differences(study: Study, identity: Mapping[str, Value]) -> str:
    """Say what a study was begun with and what came, where they differ; else empty."""
    attrs = study.user_attrs
    if attrs[_MARK]["schema"] != _SCHEMA:
        raise StudyError(
            f"study {study.study_name} has schema {attrs[_MARK]['schema']}, this autoprune "
            f"writes schema {_SCHEMA}: use another --study name, or the version that began it"
        )
    known = {key: attrs[key] for key in attrs[_MARK]["identity"]}
    return "; ".join(
        f"{key} {known.get(key, '(not stated)')}, got {identity.get(key, '(not stated)')}"
        for key in dict.fromkeys([*known, *identity])
        if key not in known or key not in identity or known[key] != identity[key]
    )
