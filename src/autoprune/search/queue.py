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
    layout_of_trial,
    params,
)
from autoprune.search.past import past_of


def next_trial(
    study: Study, depth: int, keep: int, trials: int, first: Mapping[str, Layout]
) -> tuple[Trial, Layout] | None:
    """Begin the next trial; None when `trials` are finished or no layout is left."""
    with storage_failures():
        while True:
            known = study.get_trials(deepcopy=False)
            past = past_of(known, depth, keep)
            if sum(map(counts, known)) >= trials:
                return None
            if not any(trial.state == TrialState.WAITING for trial in known):
                if (queued := _queued(known, past.tried, first, depth)) is not None:
                    layout, origin = queued
                    study.enqueue_trial(params(layout), user_attrs=attributes(layout, origin))
                elif len(past.tried) == count(depth, keep):
                    return None
            trial = study.ask(distributions(depth))
            layout_or_none = _accept(study, trial, depth, keep)
            if layout_or_none is not None:
                return trial, layout_or_none


def _queued(
    known: Sequence[FrozenTrial],
    tried: frozenset[Layout],
    first: Mapping[str, Layout],
    depth: int,
) -> tuple[Layout, str] | None:
    """Return what must run before the sampler is asked: interrupted trials, then `first`.

    Read from the study each time rather than kept in a queue, so a kill at any moment loses
    nothing, and finished trials come in the order of an undisturbed search.
    """
    for trial in filter(given_up, known):
        layout = layout_of_trial(trial, depth)
        if INTERRUPTED in trial.user_attrs and layout is not None and layout not in tried:
            return layout, trial.user_attrs.get("origin", SEARCHED)
    for origin, layout in first.items():
        if layout not in tried:
            return layout, origin
    return None


def _accept(study: Study, trial: Trial, depth: int, keep: int) -> Layout | None:
    """Return the layout of a begun trial, or close it: trials enqueued by others may not fit."""
    known = study.get_trials(deepcopy=False)
    others = [other for other in known if other.number != trial.number]
    layout = layout_of_trial(known[trial.number], depth)
    if layout is None or len(layout.keep) != keep:
        trial.set_user_attr(REFUSED, f"a layout of this study keeps {keep} of {depth} layers")
    elif layout in past_of(others, depth, keep).tried:
        trial.set_user_attr(REFUSED, f"layout {layout} has been tried")
    else:
        if "layout" not in trial.user_attrs:
            for key, value in attributes(layout, SEARCHED).items():
                trial.set_user_attr(key, value)
        return layout
    study.tell(trial, state=TrialState.FAIL)
    return None
