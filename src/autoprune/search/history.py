"""Search history: what a sampler knows of a study when it proposes the next run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from autoprune.layouts.layout import Layout, count_layouts
from autoprune.search.trial import (
    INTERRUPTED,
    Observation,
    TrialRun,
    is_abandoned,
    layout_of_trial,
    run_of_trial,
)

MAX_PAUSED = 4
"""At least one of so many paused runs continues, to check the others against the full budget."""


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """All that a proposal may depend on, apart from the seed.

    observations: runs with their results, in the order they were started.
    running: runs under way in other processes.
    n_started: how many trials were started or wait in the queue, failed ones included.
    tried_layouts: their layouts.
    proxy_scores: cheap score of each layout, higher is better, or None.
    required: layers that every layout keeps.
    started: the runs themselves, as far as their seeds are known.
    promote: whether a run may continue to the full budget; at least one of `max_paused` does.
    """

    depth: int
    keep: int
    observations: tuple[Observation, ...]
    running: tuple[TrialRun, ...]
    n_started: int
    tried_layouts: frozenset[Layout]
    proxy_scores: Mapping[Layout, float] | None = None
    started: frozenset[TrialRun] = frozenset()
    promote: bool = False
    max_paused: int = MAX_PAUSED
    required: tuple[int, ...] = ()

    @property
    def layouts(self) -> int:
        """How many layouts can be proposed, tried ones included."""
        return count_layouts(self.depth, self.keep, len(self.required))

    def is_new(self, layout: Layout) -> bool:
        """Whether a layout can be proposed, and was not tried yet."""
        return layout not in self.tried_layouts and set(self.required) <= set(layout.keep)

    @property
    def promotion_due(self) -> bool:
        """Whether one more run has to continue, whatever that is expected to gain."""
        full = sum(run.fidelity == 1.0 for run in self.started)
        return (full + 1) * self.max_paused <= len(self.started) - full

    @property
    def paused(self) -> list[int]:
        """Indices of the observations whose run can still continue to the full budget."""
        if not self.promote:
            return []
        full = {(run.layout, run.seed) for run in self.started if run.fidelity == 1.0}
        return [
            index
            for index, observation in enumerate(self.observations)
            if (observation.run.layout, observation.run.seed) not in full
        ]


def read_history(
    trials: Sequence[FrozenTrial], depth: int, keep: int, required: tuple[int, ...] = ()
) -> SearchHistory:
    """Read the history from a study's trials.

    A pruned trial counts with its last intermediate value, plus what complete trials gained on
    average from that step to their end. If it were left out, the model would propose the
    neighbours of weak layouts again. An interrupted run counts as started without a result: it is
    repeated, and proposals are the same as if it were running.
    """
    observations: list[Observation] = []
    running: list[TrialRun] = []
    tried_layouts: set[Layout] = set()
    started: set[TrialRun] = set()
    n_started = 0
    runs = [run_of_trial(trial, depth) for trial in trials]
    abandoned = [is_abandoned(trial) for trial in trials]
    claimed = {run for run, lost in zip(runs, abandoned, strict=True) if run and not lost}
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial, run, lost in zip(trials, runs, abandoned, strict=True):
        layout = layout_of_trial(trial, depth) if run is None else run.layout
        if layout is None or len(layout.keep) != keep:
            continue
        if lost and (run in claimed or INTERRUPTED not in trial.user_attrs):
            continue
        if run in started:  # claimed by two processes at once: the later one is about to give way
            continue
        if set(required) <= set(layout.keep):  # else a person's, which fails
            tried_layouts.add(layout)
        n_started += 1
        if run is None:  # enqueued by a person: its seed is chosen when it starts
            continue
        started.add(run)
        if trial.state == TrialState.RUNNING:
            running.append(run)
        if trial.state == TrialState.COMPLETE:
            quality = trial.value
        else:
            quality = _expected_quality(trial, complete)
        if quality is not None:
            observations.append(Observation(run, quality, trial.user_attrs.get("loss", nan)))
    return SearchHistory(
        depth,
        keep,
        tuple(observations),
        tuple(running),
        n_started,
        frozenset(tried_layouts),
        started=frozenset(started),
        required=required,
    )


def claimed_runs(trials: Iterable[FrozenTrial], depth: int) -> set[TrialRun]:
    """Return the runs of all trials that were not abandoned."""
    runs = {run_of_trial(trial, depth) for trial in trials if not is_abandoned(trial)}
    return {run for run in runs if run is not None}


def _expected_quality(trial: FrozenTrial, complete: Sequence[FrozenTrial]) -> float | None:
    """Return the quality a pruned trial would have ended with, None where it is unknown."""
    if trial.state != TrialState.PRUNED or trial.last_step is None:
        return None
    step = trial.last_step
    gains = [
        other.value - other.intermediate_values[step]
        for other in complete
        if other.value is not None and step in other.intermediate_values
    ]
    return trial.intermediate_values[step] + float(np.mean(gains)) if gains else None
