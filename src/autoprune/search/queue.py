"""Which trial is begun next: interrupted ones, then given layouts, then what the sampler says."""

from collections.abc import Mapping, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprune.layouts.layout import Layout, count
from autoprune.search.failures import storage_failures
from autoprune.search.marks import (
    INTERRUPTED,
    REFUSED,
    SEARCHED,
    attributes,
    counts,
    distributions,
    given_up,
    params,
    run_of_trial,
)
from autoprune.search.past import Past, past_of
from autoprune.search.run import Run
from autoprune.search.sampler import LayoutSampler


def next_trial(
    study: Study, sampler: LayoutSampler, keep: int, trials: int, first: Mapping[str, Layout]
) -> tuple[Trial, Run] | None:
    """Begin the next trial; None when `trials` are finished or nothing is left to run."""
    depth = sampler.depth
    with storage_failures():
        while True:
            known = study.get_trials(deepcopy=False)
            past = past_of(known, depth, keep)
            if sum(map(counts, known)) >= trials:
                return None
            if not any(trial.state == TrialState.WAITING for trial in known):
                if (queued := _queued(known, past, first, sampler)) is not None:
                    run, origin = queued
                    marks = attributes(run.layout, origin)
                    study.enqueue_trial(params(run), user_attrs=marks)
                elif not sampler.fresh and len(past.tried) == count(depth, keep):
                    return None
            trial = study.ask(distributions(depth))
            begun = _accept(study, trial, depth, keep)
            if begun is not None:
                return trial, begun


def _queued(
    known: Sequence[FrozenTrial],
    past: Past,
    first: Mapping[str, Layout],
    sampler: LayoutSampler,
) -> tuple[Run, str] | None:
    """Return what must run before the sampler is asked: interrupted trials, then `first`.

    Read from the study each time rather than kept in a queue, so a kill at any moment loses
    nothing, and finished trials come in the order of an undisturbed search.
    """
    made = runs_of(known, sampler.depth)
    for trial in filter(given_up, known):
        run = run_of_trial(trial, sampler.depth)
        if INTERRUPTED in trial.user_attrs and run is not None and run not in made:
            return run, trial.user_attrs.get("origin", SEARCHED)
    for origin, layout in first.items():
        if layout not in past.tried:
            return sampler.run(layout, past.made), origin
    return None


def runs_of(trials: Sequence[FrozenTrial], depth: int) -> set[Run]:
    """Return the runs of all trials but those that ended without finishing."""
    found = {run_of_trial(trial, depth) for trial in trials if not given_up(trial)}
    return {run for run in found if run is not None}


def _accept(study: Study, trial: Trial, depth: int, keep: int) -> Run | None:
    """Return the run of a begun trial, or close it: trials enqueued by others may not fit."""
    known = study.get_trials(deepcopy=False)
    others = [other for other in known if other.number != trial.number]
    run = run_of_trial(known[trial.number], depth)
    if run is None or len(run.layout.keep) != keep or run.fidelity == 0:
        trial.set_user_attr(REFUSED, f"a layout of this study keeps {keep} of {depth} layers")
    elif run in runs_of(others, depth):
        trial.set_user_attr(REFUSED, f"layout {run.layout} has been tried with seed {run.seed}")
    else:
        if "layout" not in trial.user_attrs:
            for key, value in attributes(run.layout, SEARCHED).items():
                trial.set_user_attr(key, value)
        return run
    study.tell(trial, state=TrialState.FAIL)
    return None
