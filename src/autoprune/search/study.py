"""The search: propose a layout, measure it, write down what came of it, until enough are done."""

from collections.abc import Callable, Mapping
from functools import partial

import optuna
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoprune.errors import OptionError, StudyError, TrialError, UnknownNameError
from autoprune.layouts.layout import Layout, check_keep
from autoprune.scoring.score import Score
from autoprune.search.failures import storage_failures
from autoprune.search.findings import Finding, Outcome, findings_of, outcome_of
from autoprune.search.identity import Value
from autoprune.search.identity import begin as begin_study
from autoprune.search.marks import FAILED, INTERRUPTED, SEARCHED, STOPPED, write_score
from autoprune.search.pruners import PRUNERS, reaches_end
from autoprune.search.queue import next_trial
from autoprune.search.run import Run
from autoprune.search.sampler import LayoutSampler
from autoprune.search.samplers import SAMPLERS
from autoprune.search.timer import Timer

Check = Callable[[float, int], None]
"""Takes validation quality in [0, 1] and optimizer step; may raise `optuna.TrialPruned`."""

Measure = Callable[[Run, Check], Score]
"""Takes run and check; raises `TrialError` for a candidate that cannot be scored."""

Begin = Callable[[Run, Check], Callable[[], Score]]
"""Begins a measurement elsewhere; what it returns waits for the end as `Measure` would."""


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
    study's own runs bear them out. Trials that a killed process left running are run again. Each
    trial finished in this call is handed to `watch`. With `seconds`, no trial is begun that would
    end later, going by the slowest of this call; the first ones are made in any case.
    KeyboardInterrupt closes the running trial and returns what was measured so far.

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
    if seconds is not None and seconds <= 0:
        raise OptionError(f"the time for a search must be above 0, got {seconds} seconds")
    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    if pruner not in PRUNERS:
        raise UnknownNameError("pruner", pruner, PRUNERS)
    interrupted = False
    storage = optuna.storages.get_storage(storage)
    study = open_study(storage, name, depth, keep, seed, identity)
    with storage_failures():
        chosen = SAMPLERS[sampler](depth, keep, seed, fidelity, hints)
        study.sampler = chosen
        study.pruner = PRUNERS[pruner]()
        _close_running(study, storage)
    try:
        start = begin or _later(measure)
        timer = Timer(seconds)
        while not timer.over() and (
            group := _group(study, chosen, keep, trials, first or {}, side_by_side)
        ):
            waits = [start(run, _checks(study, trial)) for trial, run in group]
            for (trial, _), wait in zip(group, waits, strict=True):
                _finish(study, trial, wait)
                if watch is not None:
                    watch(_findings(study, depth)[-1])
    except KeyboardInterrupt:
        interrupted = True
        with storage_failures():
            _close_running(study, storage)
    outcome = outcome_of(_findings(study, depth), interrupted, hints)
    if outcome.found is None and not interrupted:
        raise StudyError(
            f"none of the {outcome.trials} candidates of study {name} could be scored, the last "
            f"because: {outcome.findings[-1].reason}"
        )
    return outcome


def open_study(
    storage: BaseStorage,
    name: str,
    depth: int,
    keep: int,
    seed: int,
    identity: Mapping[str, Value],
) -> Study:
    """Begin study `name`, or go on with it; raises `StudyError` where it is about another thing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_failures():
        whole = {"depth": depth, "keep": keep, "seed": seed, **identity}
        return begin_study(storage, name, whole)


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


def _group(
    study: Study,
    sampler: LayoutSampler,
    keep: int,
    trials: int,
    first: Mapping[str, Layout],
    side_by_side: int,
) -> list[tuple[Trial, Run]]:
    """Begin the trials that run together, none when the search is done.

    A group that a kill cut short is first made whole, so that the next one is proposed from as
    many results as it would have been undisturbed.
    """
    done = len(_findings(study, sampler.depth))
    group: list[tuple[Trial, Run]] = []
    for _ in range(min(side_by_side - done % side_by_side, trials - done)):
        begun = next_trial(study, sampler, keep, trials, first)
        if begun is None:
            break
        group.append(begun)
    return group


def _checks(study: Study, trial: Trial) -> Check:
    """Return what reports a trial's checks and stops a weak one."""
    may_stop = trial.user_attrs["origin"] == SEARCHED and not isinstance(study.pruner, NopPruner)

    def check(quality: float, step: int) -> None:
        with storage_failures():
            trial.report(quality, step)
            stop = may_stop and not reaches_end(study, step) and trial.should_prune()
        if stop:
            raise optuna.TrialPruned

    return check


def _finish(study: Study, trial: Trial, wait: Callable[[], Score]) -> None:
    """Wait for a measurement and close its trial."""
    try:
        score = wait()
    except optuna.TrialPruned:
        with storage_failures():
            trial.set_user_attr(STOPPED, "weak beside other trials at the same step")
            study.tell(trial, state=TrialState.PRUNED)
    except TrialError as error:
        with storage_failures():
            trial.set_user_attr(STOPPED, "could not be scored")
            trial.set_user_attr(FAILED, str(error))
            study.tell(trial, state=TrialState.FAIL)
    else:
        with storage_failures():
            trial.set_user_attr(STOPPED, "at the end of its budget")
            write_score(trial, score)
            study.tell(trial, score.quality)


def _close_running(study: Study, storage: BaseStorage) -> None:
    """Close trials that came to no end; one process at a time runs a study, so all are dead."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_user_attr(trial._trial_id, STOPPED, "interrupted")
        storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, "stopped before its end")
        study.tell(trial.number, state=TrialState.FAIL)
