"""The search: begin a study or go on with it, make its trials, and say what they came to."""

from collections.abc import Callable, Mapping
from functools import partial

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from autoprune.errors import OptionError, StudyError, UnknownNameError
from autoprune.layouts.layout import Layout, check_keep
from autoprune.scoring.score import Score
from autoprune.search.claims import Desk
from autoprune.search.course import Begin, Check, Told, follow
from autoprune.search.failures import storage_failures
from autoprune.search.findings import Finding, Outcome, findings_of, outcome_of
from autoprune.search.identity import Value, join
from autoprune.search.identity import begin as begin_study
from autoprune.search.leases import Leases
from autoprune.search.pruners import PRUNERS
from autoprune.search.run import Run
from autoprune.search.samplers import SAMPLERS
from autoprune.search.timer import Timer

Measure = Callable[[Run, Check], Score]
"""Takes run and check; raises `TrialError` for a candidate that cannot be scored."""


def search(
    measure: Measure,
    depth: int,
    keep: int,
    *,
    trials: int,
    storage: BaseStorage,
    name: str,
    identity: Mapping[str, Value],
    sampler: str = "gp",
    pruner: str = "none",
    seed: int = 0,
    fidelity: float = 1.0,
    hints: Mapping[Layout, float] | None = None,
    promotes: bool = False,
    first: Mapping[str, Layout] | None = None,
    seconds: float | None = None,
    watch: Callable[[Finding], None] | None = None,
    side_by_side: int = 1,
    begin: Begin | None = None,
) -> Outcome:
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

    With `begin`, `side_by_side` layouts are proposed and begun together, each believed to come out
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
    interrupted = work(
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
    outcome = outcome_of(_findings(study, depth), interrupted, hints)
    if outcome.found is None and not interrupted:
        raise StudyError(
            f"none of the {outcome.trials} candidates of study {name} could be scored, the last "
            f"because: {outcome.findings[-1].reason}"
        )
    return outcome


def work(
    study: Study,
    storage: BaseStorage,
    begin: Begin,
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
    watch: Callable[[Finding], None] | None,
    side_by_side: int,
    seconds: float | None = None,
    most: int | None = None,
) -> bool:
    """Make trials of a study until it has `trials`, or `most` were made; tell if interrupted.

    What stands at `search` holds here too. Raises `StudyError`, `StorageError`.
    """
    storage = optuna.storages.get_storage(storage)
    chosen = SAMPLERS[sampler](depth, keep, seed, fidelity, hints, promotes)
    study.sampler, study.pruner = chosen, PRUNERS[pruner]()
    desk = Desk(storage, study._study_id, chosen, keep, Leases(storage, study._study_id))
    return follow(
        study,
        desk,
        begin,
        Told(_findings(study, depth), watch),
        trials=trials,
        first=first,
        timer=Timer(seconds),
        side_by_side=side_by_side,
        most=most,
    )


def open_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, Value],
) -> Study:
    """Begin study `name`, or go on with it; raises `StudyError` where it is about another thing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, `Patient` mends
    with storage_failures():
        whole = {"depth": depth, "keep": keep, "seed": seed, **identity}
        return begin_study(storage, name, whole)


def join_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, Value],
) -> Study:
    """Load study `name` that a search has begun; `StudyError` where it is about another thing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, `Patient` mends
    with storage_failures():
        return join(storage, name, {"depth": depth, "keep": keep, "seed": seed, **identity})


def findings(storage: BaseStorage, name: str, depth: int) -> tuple[Finding, ...]:
    """Return the finished trials of study `name` so far, none if it was not begun for `depth`."""
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return ()
        study = optuna.load_study(study_name=name, storage=storage)
        return _findings(study, depth) if study.user_attrs.get("depth") == depth else ()


def _findings(study: Study, depth: int) -> tuple[Finding, ...]:
    with storage_failures():
        return findings_of(study.get_trials(deepcopy=False), depth)


def _later(measure: Measure) -> Begin:
    """Measure in this process, when the result is asked for."""
    return lambda run, check: partial(measure, run, check)
