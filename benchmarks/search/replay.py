"""A replay: runs are measured, and what is chosen at each cost is held to the truth."""

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
Hints = dict[Layout, float] | None


class Game:
    """One replay: measures runs, and keeps what was chosen when each cost had been spent."""

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
    def over(self) -> bool:
        """Whether the last cost has been spent."""
        return len(self.chosen) == len(self.costs)

    def run(self, layout: Layout, fidelity: float = QUICK) -> float:
        """Measure a layout on a seed of its own; what would exceed a cost ends that cost first."""
        return self.make(TrialRun(layout, len(self.observed), fidelity), fidelity)

    def make(self, run: TrialRun, spends: float) -> float:
        """Make a run that costs `spends`; one that goes on from a pause costs the rest alone."""
        for cost in self.costs:
            if cost not in self.chosen and self.spent + spends > cost + 1e-9:
                self.chosen[cost] = self._choose(self.observed)
        self.spent += spends
        seen = self._measure(run)
        self.observed.append(seen)
        return seen.quality


def luckiest(observed: Observed) -> Layout:
    """Choose as Optuna's `best_trial` does."""
    return max(observed, key=lambda one: one.quality).run.layout


def expected(observed: Observed, hints: Hints = None, budgets: Sequence[float] = ()) -> Layout:
    """Choose as `search` does: the measured layout of the best posterior mean."""
    flags = layout_to_flags([one.run.layout for one in observed])
    means, _ = fit_surrogate(observed, hints, budgets).predict(flags, proxy_column(flags, hints))
    return observed[int(np.argmax(means))].run.layout


def fixed_layouts(world: World) -> list[Layout]:
    """Return the layouts of the fixed strategies."""
    return [rule(world.depth, world.keep) for rule in STRATEGIES.values()]


def past_of(game: Game, world: World) -> SearchHistory:
    """Return what a search would know by now."""
    begun = frozenset(one.run for one in game.observed)
    tried = frozenset(run.layout for run in begun)
    seen = tuple(game.observed)
    return SearchHistory(world.depth, world.keep, seen, (), len(seen), tried, begun=begun)
