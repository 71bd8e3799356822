"""Search result: the finished trials and the best layout by the surrogate's mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.files import check_value_type
from autoprune.layouts.layout import Layout
from autoprune.search.gp_sampler import fit_surrogate, proxy_column
from autoprune.search.search_space import layout_to_flags
from autoprune.search.trial import (
    FAILED,
    SEARCH_ORIGIN,
    STOPPED,
    Observation,
    TrialRun,
    distributions,
    flag_params,
    is_finished_trial,
    run_of_trial,
    score_from_attributes,
    score_to_attributes,
    trial_attributes,
)
from autoprune.training.metrics import Score

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One finished trial.

    number: its rank among the finished trials in the order they started, from 1.
    origin: the name of the initial layout (a strategy), or `search`.
    state: `complete`, `pruned` or `failed`.
    score: None unless complete.
    reason: why it failed or was pruned, else empty.
    best: the highest quality of a complete trial up to this one, None before the first.
    """

    number: int
    layout: Layout
    origin: str
    state: str
    score: Score | None
    reason: str
    best: float | None
    seed: int
    fidelity: float

    @property
    def run(self) -> TrialRun:
        """The layout with its seed and fidelity."""
        return TrialRun(self.layout, self.seed, self.fidelity)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search.

    `found` is the layout with the highest posterior mean among those with a complete trial. It is
    not the layout of the best trial: scores are noisy, and the best of many is mostly luck.
    `mean` and `std` are the surrogate's estimate of its quality. All three are None only if the
    search was interrupted before a trial was complete. `trust` is `Surrogate.trust`.
    """

    trial_results: tuple[TrialResult, ...]
    found: Layout | None
    mean: float | None
    std: float | None
    interrupted: bool
    trust: float = 0.0

    @property
    def trials(self) -> int:
        """Number of finished trials."""
        return len(self.trial_results)

    @property
    def distinct_layouts(self) -> int:
        """Number of different layouts."""
        return len({result.layout for result in self.trial_results})

    @property
    def repeated(self) -> int:
        """Number of trials with the same layout, seed and fidelity as an earlier one."""
        return self.trials - len({result.run for result in self.trial_results})


def trial_results(trials: Sequence[FrozenTrial], depth: int) -> tuple[TrialResult, ...]:
    """Return the finished trials in order."""
    results: list[TrialResult] = []
    best: float | None = None
    for trial in filter(is_finished_trial, trials):
        run = run_of_trial(trial, depth)
        if run is None:
            raise ValueError(f"trial {trial.number} is finished, but has no layout or seed")
        score = score_from_attributes(trial, run.seed)
        if score is not None:
            check_value_type(score, Score, f"trial {trial.number}")
        if score is not None and (best is None or score.quality > best):
            best = score.quality
        weak = f"weak at step {trial.last_step}" if trial.state == TrialState.PRUNED else ""
        results.append(
            TrialResult(
                number=len(results) + 1,
                layout=run.layout,
                origin=trial.user_attrs.get("origin", SEARCH_ORIGIN),
                state=_STATES[trial.state],
                score=score,
                reason=weak or str(trial.user_attrs.get(FAILED, "")),
                best=best,
                seed=run.seed,
                fidelity=run.fidelity,
            )
        )
    return tuple(results)


def finished_trial(result: TrialResult, metric: str) -> FrozenTrial:
    """Return the Optuna trial that `trial_results` reads as `result`."""
    [state] = [state for state, name in _STATES.items() if name == result.state]
    return create_trial(
        state=state,
        value=result.score.quality if result.score else None,
        params=flag_params(result.layout),
        distributions=distributions(result.layout.depth),
        user_attrs={
            **trial_attributes(result.run, result.origin),
            **(score_to_attributes(result.score, metric) if result.score else {}),
            **({FAILED: result.reason} if state == TrialState.FAIL else {}),
            STOPPED: "taken up from the records",
        },
    )


def search_result(
    results: tuple[TrialResult, ...],
    interrupted: bool,
    proxy_scores: Mapping[Layout, float] | None = None,
) -> SearchResult:
    """Choose the best layout: the highest posterior mean at the largest fidelity of the trials."""
    observations = [
        Observation(result.run, result.score.quality, result.score.loss)
        for result in results
        if result.score is not None
    ]
    if not observations:
        return SearchResult(results, None, None, None, interrupted)
    flags = layout_to_flags([observation.run.layout for observation in observations])
    surrogate = fit_surrogate(observations, proxy_scores)
    mean, std = surrogate.predict(flags, proxy_column(flags, proxy_scores))
    best = int(np.argmax(mean))
    return SearchResult(
        results,
        found=observations[best].run.layout,
        mean=float(mean[best]),
        std=float(std[best]),
        interrupted=interrupted,
        trust=surrogate.trust,
    )
