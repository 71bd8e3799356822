"""Study: create or resume a study, run its trials, and return the result."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection

from autoprune.errors import StudyError
from autoprune.search.loop import (
    ReportValue,
    StartTrial,
    TrialCallback,
    TrialNotifier,
    optimize,
)
from autoprune.search.pruners import PRUNERS
from autoprune.search.result import (
    SearchResult,
    TrialResult,
    finished_trial,
    search_result,
    trial_results,
)
from autoprune.search.sampler import SAMPLERS
from autoprune.search.settings import SearchSettings
from autoprune.search.trial import TrialRun
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage.errors import storage_failures, stored_values
from autoprune.storage.heartbeat import Heartbeat
from autoprune.storage.optuna_internals import study_id_of
from autoprune.storage.storage import storage_name
from autoprune.training.metrics import Score

IdentityValue = str | int | float | None

Objective = Callable[[TrialRun, ReportValue], Score]
"""Objective function: trains a run, reports intermediate values, and returns its score.

Raises `TrialError` for a layout that cannot be scored.
"""

_MARK = "autoprune"

_SCHEMA = 3  # schema 1 had one seed for all trials, 2 had seed and fidelity as parameters

_READ_SCHEMAS = (2, _SCHEMA)

_CONFIG = "settings"


def optimize_study(
    objective: Objective,
    settings: SearchSettings,
    storage: BaseStorage,
    name: str,
    identity: Mapping[str, IdentityValue],
    *,
    callback: TrialCallback | None = None,
    start_trial: StartTrial | None = None,
) -> SearchResult:
    """Search layouts in study `name` until it has `settings.trials` finished trials.

    Creates the study or resumes it; `identity`, depth, keep and seed must be the same as when it
    was created. No run is made twice. Only the sampler `gp` runs a layout again, with new seeds;
    the others end early when no layout is left. Trials whose worker died are repeated at most
    twice. The running trials of other processes count too, and are waited for. `callback` gets
    each trial that finishes during this call. `start_trial` runs trials elsewhere, by default
    `objective` runs here. Ctrl-C (KeyboardInterrupt) and `request_stop` end the search early, with
    what was measured so far.

    Raises `StudyError` (another identity, a study of another program, or no layout could be
    scored), `StorageError`, and what `objective` raises.
    """
    storage = optuna.storages.get_storage(storage)
    study = open_study(storage, name, settings.depth, settings.keep, settings.seed, identity)
    start_trial = start_trial or (lambda run, report: partial(objective, run, report))
    interrupted = run_worker_trials(study, storage, start_trial, settings, callback)
    results = _finished_trials(study, settings.depth)
    result = search_result(results, interrupted, settings.proxy_scores)
    if result.found is None and not interrupted:
        raise StudyError(
            f"none of the {result.trials} candidates of study {name} could be scored, the last "
            f"because: {results[-1].reason}"
        )
    return result


def run_worker_trials(
    study: Study,
    storage: BaseStorage,
    start_trial: StartTrial,
    settings: SearchSettings,
    callback: TrialCallback | None = None,
    max_new_trials: int | None = None,
) -> bool:
    """Run trials of an open study as `optimize_study` does, at most `max_new_trials`.

    Returns whether this was interrupted. Raises `StudyError`, `StorageError`.
    """
    sampler = SAMPLERS[settings.sampler](settings)
    study.sampler, study.pruner = sampler, PRUNERS[settings.pruner]()
    study_id = study_id_of(study)
    queue = TrialQueue(storage, study_id, sampler, Heartbeat(storage, study_id))
    notifier = TrialNotifier(_finished_trials(study, settings.depth), callback)
    return optimize(study, queue, start_trial, notifier, max_new_trials)


def open_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, IdentityValue],
    create: bool = True,
) -> Study:
    """Load study `name`, or with `create` (a search, not a worker) create it where it is missing.

    The identity, with depth, keep and seed, is stored in the study's user attributes. Raises
    `StudyError` that names what differs, or if the study was not created by autoprune.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # `RetryStorage` handles its warnings
    identity = {"depth": depth, "keep": keep, "seed": seed, **identity}
    with storage_failures():
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            if not create:
                raise
            study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        if create and _MARK not in study.user_attrs:
            _write_identity(study, identity)
            return study
        with stored_values(name, storage_name(storage)):
            differences = _differences(study, identity)
            if not differences:
                _finished_trials(study, depth)  # before hours of work on top of them
    if differences:
        raise StudyError(
            f"study {name} was begun with {differences}: use the same, or another --study name"
            if create
            else f"a worker needs the model and data of study {name}, which was begun with "
            f"{differences}: use the same model and data files here"
        )
    if study.user_attrs[_MARK]["schema"] != _SCHEMA:  # an older version cannot go on here
        with storage_failures():
            study.set_user_attr(_MARK, study.user_attrs[_MARK] | {"schema": _SCHEMA})
    return study


def _write_identity(study: Study, identity: Mapping[str, IdentityValue]) -> None:
    """Write the identity, and the mark last: a study without it was created only in part."""
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


def _differences(study: Study, identity: Mapping[str, IdentityValue]) -> str:
    """Return which values of the identity differ, empty if none; raises `StudyError`."""
    attrs = study.user_attrs
    if attrs[_MARK]["schema"] not in _READ_SCHEMAS:
        raise StudyError(
            f"study {study.study_name} has schema {attrs[_MARK]['schema']}, this autoprune "
            f"writes schema {_SCHEMA}: use another --study name, or the version that began it"
        )
    stored = {key: attrs[key] for key in attrs[_MARK]["identity"]}
    if "head" in identity:  # studies of earlier versions had no other than this
        stored.setdefault("head", "drawn")
    return "; ".join(
        f"{key} {stored.get(key, '(not stated)')}, got {identity.get(key, '(not stated)')}"
        for key in dict.fromkeys([*stored, *identity])
        if key not in stored or key not in identity or stored[key] != identity[key]
    )


def store_config(storage: BaseStorage, name: str, config: Mapping[str, Any]) -> None:
    """Store what a worker has to know in study `name`, as JSON values; replaces an earlier one.

    Raises `StorageError`.
    """
    stored = json.loads(json.dumps(config))
    with storage_failures():
        study_id = storage.get_study_id_from_name(name)
        if storage.get_study_user_attrs(study_id).get(_CONFIG) != stored:
            storage.set_study_user_attr(study_id, _CONFIG, stored)


def stored_config(storage: BaseStorage, name: str) -> dict[str, Any]:
    """Return what `store_config` stored in study `name`; raises `StudyError` if there is none."""
    with storage_failures():
        names = optuna.get_all_study_names(storage)
        if name not in names:
            raise StudyError(
                f"there is no study {name!r} in this storage, but "
                f"{', '.join(sorted(names)) or 'none at all'}: begin it with autoprune search"
            )
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    if _CONFIG not in attributes:
        raise StudyError(
            f"study {name} has no settings for workers: continue it with autoprune search first"
        )
    return dict(attributes[_CONFIG])


def finished_trials(storage: BaseStorage, name: str, depth: int) -> tuple[TrialResult, ...]:
    """Return the finished trials of study `name`; none if it is missing or of another depth."""
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return ()
        study = optuna.load_study(study_name=name, storage=storage)
        with stored_values(name, storage_name(storage)):
            return _finished_trials(study, depth) if study.user_attrs.get("depth") == depth else ()


def _finished_trials(study: Study, depth: int) -> tuple[TrialResult, ...]:
    with storage_failures():
        return trial_results(study.get_trials(deepcopy=False), depth)


def add_finished_trials(
    storage: BaseStorage, name: str, trials: Sequence[TrialResult], metric: str
) -> None:
    """Add trials that ended earlier, and that the storage has lost, to study `name`.

    Raises `StorageError`.
    """
    with storage_failures():
        study_id = storage.get_study_id_from_name(name)
        for trial in trials:
            storage.create_new_trial(study_id, finished_trial(trial, metric))


def study_exists(storage: BaseStorage, name: str) -> bool:
    """Return whether study `name` is in `storage`; raises `StorageError`."""
    with storage_failures():
        return name in optuna.get_all_study_names(storage)


def delete_new_study(storage: BaseStorage, name: str) -> None:
    """Delete study `name` unless it has trials; raises `StorageError`.

    The caller holds the `single_search_lock`, so no other search has begun to use it.
    """
    with storage_failures():
        study_id = storage.get_study_id_from_name(name)
        if not storage.get_all_trials(study_id, deepcopy=False):
            storage.delete_study(study_id)
