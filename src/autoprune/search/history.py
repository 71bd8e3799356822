"""What a study knows when it has to propose the next layout."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from autoprune.layouts.layout import Layout
from autoprune.search.trial import (
    INTERRUPTED,
    Observation,
    TrialRun,
    is_abandoned,
    layout_of_trial,
    run_of_trial,
)

MAX_PAUSED = 4
"""Of so many runs that paused one goes on: it bears the others out, or does not."""


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """All that a proposal may depend on, apart from the seed.

    `observed`: runs with what came of them, in the order they were made; `running`: those under way
    elsewhere; `made`: how many runs were begun or wait in the queue, failed ones included; `tried`:
    their layouts; `hints`: a cheap score of each layout, higher is better, or None; `begun`: the
    runs themselves, as far as their seeds are settled; `promotes`: whether a run may go on to the
    full budget, as at least one of `every` that paused does.
    """

    depth: int
    keep: int
    observed: tuple[Observation, ...]
    running: tuple[TrialRun, ...]
    made: int
    tried: frozenset[Layout]
    hints: Mapping[Layout, float] | None = None
    begun: frozenset[TrialRun] = frozenset()
    promotes: bool = False
    every: int = MAX_PAUSED

    @property
    def owes(self) -> bool:
        """Whether it is time for one more run to go on, whatever that is expected to gain."""
        whole = sum(run.fidelity == 1.0 for run in self.begun)
        return (whole + 1) * self.every <= len(self.begun) - whole

    @property
    def paused(self) -> list[int]:
        """Which of the observed runs may go on to the full budget, and have not."""
        if not self.promotes:
            return []
        whole = {(run.layout, run.seed) for run in self.begun if run.fidelity == 1.0}
        return [
            number
            for number, run in enumerate(one.run for one in self.observed)
            if (run.layout, run.seed) not in whole
        ]


def read_history(trials: Sequence[FrozenTrial], depth: int, keep: int) -> SearchHistory:
    """Read the past from a study's trials.

    A pruned trial is observed at its last check plus what complete trials gained on average from
    that check to their end: left out, the model would propose the neighbours of weak layouts
    again. Of an interrupted run only that it is to be made is known: what is proposed while it
    waits to be taken up is what would have been proposed beside it.
    """
    observed: list[Observation] = []
    running: list[TrialRun] = []
    tried: set[Layout] = set()
    counted: set[TrialRun] = set()
    made = 0
    runs = [run_of_trial(trial, depth) for trial in trials]
    lost = [is_abandoned(trial) for trial in trials]
    live = {run for run, gone in zip(runs, lost, strict=True) if run is not None and not gone}
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial, run, gone in zip(trials, runs, lost, strict=True):
        layout = layout_of_trial(trial, depth) if run is None else run.layout
        if layout is None or len(layout.keep) != keep:
            continue
        if gone and (run in live or INTERRUPTED not in trial.user_attrs):
            continue
        if run in counted:  # claimed by two at once: the later one gives way in a moment
            continue
        tried.add(layout)
        made += 1
        if run is None:  # enqueued by another hand: the rest is settled when it begins
            continue
        counted.add(run)
        if trial.state == TrialState.RUNNING:
            running.append(run)
        quality = trial.value if trial.state == TrialState.COMPLETE else _expected(trial, complete)
        if quality is not None:
            observed.append(Observation(run, quality, trial.user_attrs.get("loss", nan)))
    begun = frozenset(counted)
    return SearchHistory(
        depth, keep, tuple(observed), tuple(running), made, frozenset(tried), begun=begun
    )


def observations_of(trials: Iterable[FrozenTrial], depth: int) -> set[TrialRun]:
    """Return the runs of all trials but those that ended without finishing."""
    found = {run_of_trial(trial, depth) for trial in trials if not is_abandoned(trial)}
    return {run for run in found if run is not None}


def _expected(trial: FrozenTrial, complete: Sequence[FrozenTrial]) -> float | None:
    """Return the quality a pruned trial would have ended with, None where nothing tells."""
    if trial.state != TrialState.PRUNED or trial.last_step is None:
        return None
    step = trial.last_step
    gains = [
        end.value - end.intermediate_values[step]
        for end in complete
        if end.value is not None and step in end.intermediate_values
    ]
    return trial.intermediate_values[step] + float(np.mean(gains)) if gains else None
