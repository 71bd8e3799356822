"""What a search found out: its finished trials and the layout they speak for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from autoprune.layouts.layout import Layout
from autoprune.search.gp_sampler import fit_surrogate, proxy_column
from autoprune.search.search_space import layout_to_flags
from autoprune.search.trial import (
    FAILED,
    SEARCH_ORIGIN,
    Observation,
    TrialRun,
    is_finished_trial,
    run_of_trial,
    score_from_attributes,
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

    `number`: its place among the finished trials, from 1; `origin`: the strategy's name, or
    `search`; `state`: `complete`, `pruned` or `failed`; `score`: of complete trials only;
    `reason`: why it failed or was pruned, else empty; `best`: highest quality of a complete trial
    up to this one, None before the first; `seed` and `fidelity` as in `TrialRun`.
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


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to.

    `found` is the measured layout of the best posterior mean over all complete runs, never the
    luckiest run: runs are noisy, and the best of many single scores is mostly luck. `mean` and
    `std` are the surrogate's quality of it and how sure that is. All three are None only if the
    search was interrupted before a trial completed. `trust` is `Surrogate.trust`.
    """

    findings: tuple[TrialResult, ...]
    found: Layout | None
    mean: float | None
    std: float | None
    interrupted: bool
    trust: float = 0.0

    @property
    def trials(self) -> int:
        """How many trials are finished."""
        return len(self.findings)

    @property
    def distinct_layouts(self) -> int:
        """How many different layouts they ran."""
        return len({finding.layout for finding in self.findings})

    @property
    def repeated(self) -> int:
        """How many finished trials made a run again: same layout, same seed, same budget."""
        runs = {(finding.layout, finding.seed, finding.fidelity) for finding in self.findings}
        return self.trials - len(runs)


def trial_results(trials: Sequence[FrozenTrial], depth: int) -> tuple[TrialResult, ...]:
    """Return the finished trials in order."""
    findings: list[TrialResult] = []
    best: float | None = None
    for trial in filter(is_finished_trial, trials):
        run = run_of_trial(trial, depth)
        assert run is not None, f"trial {trial.number} is finished, so it ran a layout"
        score = score_from_attributes(trial)
        if score is not None and (best is None or score.quality > best):
            best = score.quality
        findings.append(
            TrialResult(
                number=len(findings) + 1,
                layout=run.layout,
                origin=trial.user_attrs.get("origin", SEARCH_ORIGIN),
                state=_STATES[trial.state],
                score=score,
                reason=_reason(trial),
                best=best,
                seed=run.seed,
                fidelity=run.fidelity,
            )
        )
    return tuple(findings)


def _reason(trial: FrozenTrial) -> str:
    if trial.state == TrialState.PRUNED:
        return f"weak at step {trial.last_step}"
    return str(trial.user_attrs.get(FAILED, ""))


def search_result(
    findings: tuple[TrialResult, ...],
    interrupted: bool,
    hints: Mapping[Layout, float] | None = None,
) -> SearchResult:
    """Choose the layout that the complete trials speak for, at the largest of their budgets."""
    scored = [
        Observation(
            TrialRun(finding.layout, finding.seed, finding.fidelity),
            finding.score.quality,
            finding.score.loss,
        )
        for finding in findings
        if finding.score is not None
    ]
    if not scored:
        return SearchResult(findings, None, None, None, interrupted)
    flags = layout_to_flags([one.run.layout for one in scored])
    surrogate = fit_surrogate(scored, hints)
    mean, std = surrogate.predict(flags, proxy_column(flags, hints))
    best = int(np.argmax(mean))
    found = scored[best].run.layout
    sure = float(mean[best]), float(std[best])
    return SearchResult(findings, found, *sure, interrupted, surrogate.trust)
