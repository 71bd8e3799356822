"""An Optuna sampler that decides a whole run at once and never the same one twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_by_tree, propose_in_order, propose_randomly
from autoprune.search.gp_sampler import propose_by_gp
from autoprune.search.history import SearchHistory, read_history
from autoprune.search.trial import TrialRun, distributions, trial_params

ProposeLayout = Callable[[SearchHistory, np.random.Generator], Layout | TrialRun]
"""Returns the layout of a new run, or the run that goes on from where another one paused."""

_FIRST_SEED = 1_000
"""Fresh seeds begin so far above the study's: those just above it are the comparison's."""


class LayoutSampler(BaseSampler):
    """Samples flags `layer_00`, `layer_01`, ... of which exactly `keep` are 1, seed and fidelity.

    With `fresh`, each run has a seed of its own: what a seed does to layouts that are alike is
    alike, so runs of one seed mislead together, and runs of many seeds correct each other. Else
    all have the study's seed, and no layout comes twice. With `promotes`, a run that had
    `fidelity` may go on to 1.

    A proposal depends on `seed` and the past alone, never on how often the process was restarted:
    the random numbers come from `seed` and how many runs were made. Raises `StudyError` when
    nothing is left to run.
    """

    def __init__(
        self,
        depth: int,
        keep: int,
        seed: int,
        fidelity: float,
        hints: Mapping[Layout, float] | None = None,
        promotes: bool = False,
        *,
        propose: ProposeLayout,
        fresh: bool,
    ) -> None:
        self.depth = depth
        self._keep = keep
        self._seed = seed
        self._fidelity = fidelity
        self.fidelities = (fidelity, 1.0) if promotes else (fidelity,)
        self._hints = hints
        self._propose = propose
        self.fresh = fresh

    def run(self, layout: Layout, past: SearchHistory) -> TrialRun:
        """Return the run of `layout` that comes next; a fresh seed is one that no run has yet."""
        if not self.fresh:
            return TrialRun(layout, self._seed, self._fidelity)
        seed, taken = self._seed + _FIRST_SEED + past.made, {run.seed for run in past.begun}
        while seed in taken:  # somebody chose it by hand, or a trial before was refused
            seed += 1
        return TrialRun(layout, seed, self._fidelity)

    def next(self, others: Sequence[FrozenTrial]) -> TrialRun:
        """Propose the run that comes after the trials `others`."""
        return self.after(read_history(others, self.depth, self._keep))

    def after(self, past: SearchHistory) -> TrialRun:
        """Propose the run that comes after `past`."""
        past = replace(past, hints=self._hints, promotes=len(self.fidelities) > 1)
        rng = np.random.default_rng((self._seed, past.made))
        proposed = self._propose(past, rng)
        return proposed if isinstance(proposed, TrialRun) else self.run(proposed, past)

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return one flag per layer, the seed and the fidelity."""
        return distributions(self.depth)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the parameters of the next run."""
        others = [
            other for other in study.get_trials(deepcopy=False) if other.number != trial.number
        ]
        return trial_params(self.next(others))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Refuse: a layer flag is never decided alone."""
        raise ValueError(f"{param_name} is no layer flag of a {self.depth}-layer model")


SAMPLERS: dict[str, Callable[..., LayoutSampler]] = {
    "gp": partial(LayoutSampler, propose=propose_by_gp, fresh=True),
    "random": partial(LayoutSampler, propose=propose_randomly, fresh=False),
    "tpe": partial(LayoutSampler, propose=propose_by_tree, fresh=False),
    "brute-force": partial(LayoutSampler, propose=propose_in_order, fresh=False),
}
"""Each takes (depth, keep, seed, fidelity, hints=None, promotes=False); only `gp` listens to hints
and promotes."""
