"""The search: propose a layout, measure it, write down what came of it, until enough are done."""

from collections.abc import Callable, Mapping

import optuna
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoprune.errors import OptionError, StudyError, TrialError
from autoprune.layouts.layout import Layout, check_keep
from autoprune.scoring.score import Score
from autoprune.search.failures import storage_failures
from autoprune.search.findings import Finding, Outcome, findings_of, outcome_of
from autoprune.search.identity import Value, begin
from autoprune.search.marks import FAILED, INTERRUPTED, SEARCHED, write_score
from autoprune.search.pruners import PRUNERS, reaches_end
from autoprune.search.queue import next_trial
from autoprune.search.samplers import SAMPLERS

Check = Callable[[float, int], None]
"""Takes validation quality in [0, 1] and optimizer step; may raise `optuna.TrialPruned`."""

Measure = Callable[[Layout, int, Check], Score]
"""Takes layout, seed and check; raises `TrialError` for a candidate that cannot be scored."""


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
    first: Mapping[str, Layout] | None = None,
    watch: Callable[[Finding], None] | None = None,
) -> Outcome:
    """Search the layouts that keep `keep` of `depth` layers until `trials` are finished in all.

    The study `name` is begun or gone on with; `identity`, depth, keep and seed must be those it
    was begun with. The layouts `first` are run before others under their names as origin. No
    layout is run twice, so a search ends early when none is left; trials that a killed process
    left running are run again. Each trial finished in this call is handed to `watch`.
    KeyboardInterrupt closes the running trial and returns what was measured so far.

    Raises `StudyError` (another identity, a study of another kind, or no candidate could be
    scored), `StorageError`, `LayoutError`, `OptionError`; what else `measure` raises goes through.
    """
    check_keep(depth, keep)
    if trials < 1:
        raise OptionError(f"trials must be at least 1, got {trials}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    interrupted = False
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        study = begin(storage, name, {"depth": depth, "keep": keep, "seed": seed, **identity})
        study.sampler = SAMPLERS[sampler](depth, keep, seed)
        study.pruner = PRUNERS[pruner]()
        _close_running(study, storage)
    try:
        while (begun := next_trial(study, depth, keep, trials, first or {})) is not None:
            _run(study, *begun, measure, seed)
            if watch is not None:
                watch(_findings(study, depth)[-1])
    except KeyboardInterrupt:
        interrupted = True
        with storage_failures():
            _close_running(study, storage)
    outcome = outcome_of(_findings(study, depth), interrupted)
    if outcome.found is None and not interrupted:
        raise StudyError(
            f"none of the {outcome.trials} candidates of study {name} could be scored, the last "
            f"because: {outcome.findings[-1].reason}"
        )
    return outcome


def findings(storage: BaseStorage, name: str, depth: int) -> tuple[Finding, ...]:
    """Return the finished trials of study `name` so far, none if it was not begun."""
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return ()
        return _findings(optuna.load_study(study_name=name, storage=storage), depth)


def _findings(study: Study, depth: int) -> tuple[Finding, ...]:
    with storage_failures():
        return findings_of(study.get_trials(deepcopy=False), depth)


def _run(study: Study, trial: Trial, layout: Layout, measure: Measure, seed: int) -> None:
    """Measure one layout and close its trial."""
    may_stop = trial.user_attrs["origin"] == SEARCHED and not isinstance(study.pruner, NopPruner)

    def check(quality: float, step: int) -> None:
        with storage_failures():
            trial.report(quality, step)
            stop = may_stop and not reaches_end(study, step) and trial.should_prune()
        if stop:
            raise optuna.TrialPruned

    try:
        score = measure(layout, seed, check)
    except optuna.TrialPruned:
        with storage_failures():
            study.tell(trial, state=TrialState.PRUNED)
    except TrialError as error:
        with storage_failures():
            trial.set_user_attr(FAILED, str(error))
            study.tell(trial, state=TrialState.FAIL)
    else:
        with storage_failures():
            write_score(trial, score)
            study.tell(trial, score.quality)


def _close_running(study: Study, storage: BaseStorage) -> None:
    """Close trials that came to no end; one process at a time runs a study, so all are dead."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, "stopped before its end")
        study.tell(trial.number, state=TrialState.FAIL)
