"""The search: begin a study or go on with it, make its trials, and say what they came to."""

import json
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection

from autoprune.errors import OptionError, StudyError, UnknownNameError
from autoprune.layouts.layout import Layout, check_keep
from autoprune.search.loop import Deadline, ProgressReporter, ShouldStop, StartRun, optimize
from autoprune.search.pruners import PRUNERS
from autoprune.search.result import SearchResult, TrialResult, search_result, trial_results
from autoprune.search.sampler import SAMPLERS
from autoprune.search.trial import TrialRun
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import Heartbeat
from autoprune.training.metrics import Score

IdentityValue = str | int | float | None

_MARK = "autoprune"

_SCHEMA = 2  # 1 had one seed for all trials and no fidelity


def create_or_load(storage: BaseStorage, name: str, identity: Mapping[str, IdentityValue]) -> Study:
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


def _describe(study: Study, identity: Mapping[str, IdentityValue]) -> None:
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


def load_same_study(
    storage: BaseStorage, name: str, identity: Mapping[str, IdentityValue]
) -> Study:
    """Load study `name`, which must be about the same; raises `StudyError` naming what differs."""
    study = optuna.load_study(study_name=name, storage=storage)
    if differ := _differences(study, identity):
        raise StudyError(
            f"a worker must have what study {name} was begun with: {differ}; bring model and data "
            "to what they were there"
        )
    return study


def _compare(study: Study, identity: Mapping[str, IdentityValue]) -> None:
    if differ := _differences(study, identity):
        raise StudyError(
            f"study {study.study_name} was begun with {differ}: "
            "use the same, or another --study name"
        )


def _differences(study: Study, identity: Mapping[str, IdentityValue]) -> str:
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


_SETTINGS = "settings"


def store_config(storage: BaseStorage, name: str, settings: Mapping[str, Any]) -> None:
    """Write what can be written as JSON to study `name`, in place of what an earlier search kept.

    Raises `StorageError`.
    """
    plain = json.loads(json.dumps(settings))
    with storage_failures():
        study = storage.get_study_id_from_name(name)
        if storage.get_study_user_attrs(study).get(_SETTINGS) != plain:
            storage.set_study_user_attr(study, _SETTINGS, plain)


def stored_config(storage: BaseStorage, name: str) -> dict[str, Any]:
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


Objective = Callable[[TrialRun, ShouldStop], Score]
"""Takes run and check; raises `TrialError` for a candidate that cannot be scored."""


def optimize_study(
    measure: Objective,
    depth: int,
    keep: int,
    *,
    trials: int,
    storage: BaseStorage,
    name: str,
    identity: Mapping[str, IdentityValue],
    sampler: str = "gp",
    pruner: str = "none",
    seed: int = 0,
    fidelity: float = 1.0,
    hints: Mapping[Layout, float] | None = None,
    promotes: bool = False,
    first: Mapping[str, Layout] | None = None,
    seconds: float | None = None,
    watch: Callable[[TrialResult], None] | None = None,
    side_by_side: int = 1,
    begin: StartRun | None = None,
) -> SearchResult:
    """Search the layouts that keep `keep` of `depth` layers until `trials` are finished in all.

    The study `name` is begun or gone on with; `identity`, depth, keep and seed must be those it
    was begun with. The layouts `first` are run before others under their names as origin. No
    run is made twice, and only `gp` makes others of the same layout, on new seeds: with the other
    samplers a search ends early when no layout is left. `fidelity` is the share of the full budget
    that a run has; `hints` are cheap scores of all layouts, which `gp` weighs by how far the
    study's own runs bear them out. With `promotes`, which takes a `fidelity` below 1 and `gp`, a
    run may go on to the full budget, as another trial of the same seed. Trials whose worker died
    are run again, at most twice. Others may be at work on the study too: what they have under way
    counts as part of `trials`, and is waited for. Each trial finished during this call is handed
    to `watch`. With `seconds`, no trial is begun that would end later, going by the slowest of this
    call; the first ones are made in any case. KeyboardInterrupt closes the running trials and
    returns what was measured so far, and so does `leaving.ask`, once a trial has ended.

    With `create_or_load`, `side_by_side` layouts are proposed and begun together, each believed to come out
    as expected while the others are proposed, and the next ones when all have ended: what is
    proposed depends on that number, never on which process was faster.

    Raises `StudyError` (another identity, a study of another kind, or no candidate could be
    scored), `StorageError`, `LayoutError`, `OptionError`, `UnknownNameError`; what else `measure`
    raises goes through.
    """
    check_keep(depth, keep)
    if trials < 1:
        raise OptionError(f"trials must be at least 1, got {trials}")
    if promotes and (sampler != "gp" or pruner != "none" or fidelity == 1.0):
        raise OptionError("promotes takes sampler gp, pruner none and a fidelity below 1")
    if seconds is not None and seconds <= 0:
        raise OptionError(f"the time for a search must be above 0, got {seconds} seconds")
    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    if pruner not in PRUNERS:
        raise UnknownNameError("pruner", pruner, PRUNERS)
    storage = optuna.storages.get_storage(storage)
    study = open_study(storage, name, depth, keep, seed, identity)
    interrupted = run_worker_trials(
        study,
        storage,
        begin or _later(measure),
        depth,
        keep,
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        fidelity=fidelity,
        hints=hints,
        promotes=promotes,
        first=first or {},
        seconds=seconds,
        watch=watch,
        side_by_side=side_by_side,
    )
    outcome = search_result(_findings(study, depth), interrupted, hints)
    if outcome.found is None and not interrupted:
        raise StudyError(
            f"none of the {outcome.trials} candidates of study {name} could be scored, the last "
            f"because: {outcome.findings[-1].reason}"
        )
    return outcome


def run_worker_trials(
    study: Study,
    storage: BaseStorage,
    begin: StartRun,
    depth: int,
    keep: int,
    *,
    trials: int,
    sampler: str,
    pruner: str,
    seed: int,
    fidelity: float,
    hints: Mapping[Layout, float] | None,
    promotes: bool,
    first: Mapping[str, Layout],
    watch: Callable[[TrialResult], None] | None,
    side_by_side: int,
    seconds: float | None = None,
    most: int | None = None,
) -> bool:
    """Make trials of a study until it has `trials`, or `most` were made; tell if interrupted.

    What stands at `optimize_study` holds here too. Raises `StudyError`, `StorageError`.
    """
    storage = optuna.storages.get_storage(storage)
    chosen = SAMPLERS[sampler](depth, keep, seed, fidelity, hints, promotes)
    study.sampler, study.pruner = chosen, PRUNERS[pruner]()
    desk = TrialQueue(storage, study._study_id, chosen, keep, Heartbeat(storage, study._study_id))
    return optimize(
        study,
        desk,
        begin,
        ProgressReporter(_findings(study, depth), watch),
        trials=trials,
        first=first,
        timer=Deadline(seconds),
        side_by_side=side_by_side,
        most=most,
    )


def open_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, IdentityValue],
) -> Study:
    """Begin study `name`, or go on with it; raises `StudyError` where it is about another thing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, `Patient` mends
    with storage_failures():
        whole = {"depth": depth, "keep": keep, "seed": seed, **identity}
        return create_or_load(storage, name, whole)


def join_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, IdentityValue],
) -> Study:
    """Load study `name` that a search has begun; `StudyError` where it is about another thing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, `Patient` mends
    with storage_failures():
        return load_same_study(
            storage, name, {"depth": depth, "keep": keep, "seed": seed, **identity}
        )


def finished_trials(storage: BaseStorage, name: str, depth: int) -> tuple[TrialResult, ...]:
    """Return the finished trials of study `name` so far, none if it was not begun for `depth`."""
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return ()
        study = optuna.load_study(study_name=name, storage=storage)
        return _findings(study, depth) if study.user_attrs.get("depth") == depth else ()


def _findings(study: Study, depth: int) -> tuple[TrialResult, ...]:
    with storage_failures():
        return trial_results(study.get_trials(deepcopy=False), depth)


def _later(measure: Objective) -> StartRun:
    """Measure in this process, when the result is asked for."""
    return lambda run, check: partial(measure, run, check)


def study_exists(storage: BaseStorage, name: str) -> bool:
    """Tell whether study `name` is in `storage`; raises `StorageError`."""
    with storage_failures():
        return name in optuna.get_all_study_names(storage)


def delete_new_study(storage: BaseStorage, name: str) -> None:
    """Delete study `name`, unless somebody has made trials of it; raises `StorageError`.

    The caller leads it, so that no other search has begun to work on it.
    """
    with storage_failures():
        study = storage.get_study_id_from_name(name)
        if not storage.get_all_trials(study, deepcopy=False):
            storage.delete_study(study)
