"""Replay of a search: layouts are measured in a world, and at each cost one of them is chosen."""

from collections.abc import Callable, Sequence

import numpy as np

from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.search.gp_sampler import fit_surrogate, proxy_column
from autoprune.search.history import SearchHistory
from autoprune.search.search_space import layout_to_flags
from autoprune.search.trial import Observation, TrialRun
from replay_tables import QUICK, World

COSTS = (6, 12, 22, 50)

Observed = list[Observation]
Measure = Callable[[TrialRun], Observation]
ProxyScores = dict[Layout, float] | None


class Replay:
    """One replay: measures runs, and keeps the layout that was chosen when each cost was spent."""

    def __init__(
        self,
        measure: Measure,
        choose: Callable[[Observed], Layout],
        costs: Sequence[int],
    ) -> None:
        self._measure, self._choose = measure, choose
        self.costs = costs
        self.observed: Observed = []
        self.spent = 0.0
        self.chosen: dict[int, Layout] = {}

    @property
    def is_over(self) -> bool:
        """Whether the last cost has been spent."""
        return len(self.chosen) == len(self.costs)

    def measure_layout(self, layout: Layout, fidelity: float = QUICK) -> float:
        """Return the quality of a layout on a new seed; its fidelity is its cost."""
        return self.measure_run(TrialRun(layout, len(self.observed), fidelity), fidelity)

    def measure_run(self, run: TrialRun, cost: float) -> float:
        """Return the quality of a run. One that goes on from a pause costs only the rest.

        A run that would exceed one of the costs comes after the choice at that cost.
        """
        for limit in self.costs:
            if limit not in self.chosen and self.spent + cost > limit + 1e-9:
                self.chosen[limit] = self._choose(self.observed)
        self.spent += cost
        observation = self._measure(run)
        self.observed.append(observation)
        return observation.quality


def choose_best_observed(observed: Observed) -> Layout:
    """Choose the layout of the best single run, as Optuna's `best_trial` does."""
    return max(observed, key=lambda observation: observation.quality).run.layout


def choose_best_posterior(
    observed: Observed, proxy_scores: ProxyScores = None, budgets: Sequence[float] = ()
) -> Layout:
    """Choose the measured layout of the best posterior mean, as `search` does."""
    flags = layout_to_flags([observation.run.layout for observation in observed])
    surrogate = fit_surrogate(observed, proxy_scores, budgets)
    means, _ = surrogate.predict(flags, proxy_column(flags, proxy_scores))
    return observed[int(np.argmax(means))].run.layout


def fixed_layouts(world: World) -> list[Layout]:
    """Return the layouts of the fixed strategies."""
    return [rule(world.depth, world.keep) for rule in STRATEGIES.values()]


def search_history(replay: Replay, world: World) -> SearchHistory:
    """Return what a search would know by now."""
    begun = frozenset(observation.run for observation in replay.observed)
    tried = frozenset(run.layout for run in begun)
    observed = tuple(replay.observed)
    return SearchHistory(world.depth, world.keep, observed, (), len(observed), tried, started=begun)
