"""The ways of choosing layers, as replays on a world: each spends runs and names a layout."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import optuna
from optuna.trial import TrialState

from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.search.gains import knowledge_gradient
from autoprune.search.marks import distributions, flag_names, flags
from autoprune.search.past import Past
from autoprune.search.proposals import (
    STARTS,
    hints_of,
    hopeful,
    propose_by_surrogate,
    propose_randomly,
    surrogate_of,
)
from autoprune.search.run import Run, Seen
from autoprune.search.sampler import Propose
from autoprune.search.space import flags_of, grid, layout_of, neighbours
from autoprune.search.tree import mended
from tables import FULL, QUICK, World

_DRAWS = 25  # of TPE, for one layout that was not tried yet
_RACED, _FINALISTS = 0.35, 8
COSTS = (6, 12, 22, 50)

Observed = list[Seen]
Measure = Callable[[Run], Seen]
Hints = dict[Layout, float] | None


class Game:
    """One replay: measures runs, and keeps what was chosen when each cost had been spent."""

    def __init__(
        self, world: World, measure: Measure, choose: Callable[[Observed], Layout]
    ) -> None:
        self._world, self._measure, self._choose = world, measure, choose
        self.observed: Observed = []
        self.spent = 0.0
        self.regret: dict[int, float] = {}

    @property
    def over(self) -> bool:
        """Whether the last cost has been spent."""
        return len(self.regret) == len(COSTS)

    def run(self, layout: Layout, fidelity: float = QUICK) -> float:
        """Measure a layout on a seed of its own; what would exceed a cost ends that cost first."""
        for cost in COSTS:
            if cost not in self.regret and self.spent + fidelity > cost + 1e-9:
                self.regret[cost] = self._world.regret(self._choose(self.observed))
        self.spent += fidelity
        run = Run(layout, len(self.observed), fidelity)
        seen = self._measure(run)
        self.observed.append(seen)
        return seen.quality


def luckiest(observed: Observed) -> Layout:
    """Choose as Optuna's `best_trial` does."""
    return max(observed, key=lambda one: one.quality).run.layout


def expected(observed: Observed, hints: Hints = None, budgets: Sequence[float] = ()) -> Layout:
    """Choose as `search` does: the measured layout of the best posterior mean."""
    flags = flags_of([one.run.layout for one in observed])
    means, _ = surrogate_of(observed, hints, budgets).predict(flags, hints_of(flags, hints))
    return observed[int(np.argmax(means))].run.layout


def sampled(
    game: Game, world: World, rng: np.random.Generator, propose: Propose, first: bool, hints: Hints
) -> None:
    """Play a sampler; `first` are the fixed strategies, as `search` begins."""
    begin = iter(fixed_layouts(world) if first else ())
    while not game.over:
        seen = game.observed
        tried = frozenset(one.run.layout for one in seen)
        past = Past(world.depth, world.keep, tuple(seen), (), len(seen), tried, hints)
        game.run(next(begin, None) or propose(past, rng))


def fixed_layouts(world: World) -> list[Layout]:
    """Return the layouts of the fixed strategies."""
    return [rule(world.depth, world.keep) for rule in STRATEGIES.values()]


def play_fixed(game: Game, world: World) -> None:
    """Fine-tune the fixed strategies in full, by turns."""
    while not game.over:
        for layout in fixed_layouts(world):
            game.run(layout, FULL)


def best_mean(observed: Observed) -> Layout:
    """Choose the layout of the best mean over its runs."""
    runs: dict[Layout, list[float]] = {}
    for one in observed:
        runs.setdefault(one.run.layout, []).append(one.quality)
    return max(runs, key=lambda layout: statistics.mean(runs[layout]))


def play_greedy(game: Game, world: World, rng: np.random.Generator) -> None:
    """Exchange one layer where that is better, from the best fixed strategy; then begin anew."""
    scores = {layout: game.run(layout) for layout in fixed_layouts(world)}
    here = max(scores, key=lambda layout: scores[layout])
    while not game.over:
        near = [layout_of(row) for row in rng.permutation(neighbours(np.array(here.flags)))]
        near = [layout for layout in near if layout not in scores]
        for layout in near:
            scores[layout] = game.run(layout)
            if scores[layout] > scores[here] or game.over:
                here = layout
                break
        else:
            here = propose_randomly(_past(game, world), rng)
            scores[here] = game.run(here)


def play_evolution(game: Game, world: World, rng: np.random.Generator) -> None:
    """Keep one parent; of 8 children by exchanges the best replaces it if better (EvoPress)."""
    scores: dict[Layout, float] = {}
    parent = propose_randomly(_past(game, world), rng)
    scores[parent] = game.run(parent)
    while not game.over:
        children = list(islice(_children(parent, scores, rng), 8))
        for child in children:
            scores[child] = game.run(child)
        parent = max([parent, *children], key=lambda layout: scores[layout])


def play_tpe(game: Game, world: World, rng: np.random.Generator) -> None:
    """Draw with Optuna's TPE over flags, mended at random to as many layers as are to be kept.

    What was tried is drawn again, a few times. The rule of `search --sampler tpe`, in a study that
    stays, which is quicker.
    """
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    )
    space = {name: distributions(world.depth)[name] for name in flag_names(world.depth)}
    tried: set[Layout] = set()
    while not game.over:
        for _ in range(_DRAWS):
            drawn = study.ask(space)
            study.tell(drawn, state=TrialState.FAIL)
            layout = layout_of(mended(np.array(list(drawn.params.values())), world.keep, rng))
            if layout not in tried:
                break
        else:
            layout = propose_randomly(_past(game, world), rng)
        tried.add(layout)
        study.add_trial(
            optuna.trial.create_trial(
                params=flags(layout), distributions=dict(space), value=game.run(layout)
            )
        )


def _children(
    parent: Layout, scores: dict[Layout, float], rng: np.random.Generator
) -> Iterator[Layout]:
    while True:
        row = np.array(parent.flags)
        for _ in range(int(min(rng.integers(1, 4), rng.integers(1, 4)))):
            row = rng.permutation(neighbours(row))[0]
        child = layout_of(row)
        if child not in scores:
            yield child


def _past(game: Game, world: World) -> Past:
    tried = frozenset(one.run.layout for one in game.observed)
    return Past(world.depth, world.keep, tuple(game.observed), (), len(game.observed), tried)


def play_either(game: Game, world: World, rng: np.random.Generator) -> None:
    """Choose the budget too: of quick and full runs, what is worth most for its cost."""
    space, layouts = grid(world.depth, world.keep), fixed_layouts(world)
    while not game.over:
        made = len(game.observed)
        if made < STARTS:
            game.run(
                layouts[made] if made < len(layouts) else propose_randomly(_past(game, world), rng)
            )
            continue
        surrogate = surrogate_of(game.observed, budgets=(QUICK, FULL))
        mean, std = surrogate.predict(space)
        rows = hopeful(mean, std, float(mean.max()))
        worth = {
            budget: knowledge_gradient(mean[rows], surrogate.teaches(space[rows], None, budget))
            / budget
            for budget in (QUICK, FULL)
        }
        budget = max(worth, key=lambda one: float(worth[one].max()))
        game.run(layout_of(space[rows[int(np.argmax(worth[budget]))]]), budget)


def play_race(game: Game, world: World, rng: np.random.Generator) -> None:
    """Spend two thirds up to each cost on quick runs, the rest on full runs of the leaders."""
    begin = iter(fixed_layouts(world))
    for cost in COSTS:
        until = game.spent + (1 - _RACED) * (cost - game.spent)
        while game.spent + QUICK <= until:
            past = _past(game, world)
            quick = tuple(one for one in past.observed if one.run.fidelity == QUICK)
            past = replace(past, observed=quick)
            game.run(next(begin, None) or propose_by_surrogate(past, rng))
        while game.spent + FULL <= cost + 1e-9:
            tried = np.unique(flags_of([one.run.layout for one in game.observed]), axis=0)
            surrogate = surrogate_of(game.observed, budgets=(QUICK, FULL))
            means, _ = surrogate.predict(tried)
            leaders = np.argsort(-means)[:_FINALISTS]
            gains = knowledge_gradient(
                means[leaders], surrogate.teaches(tried[leaders], None, FULL)
            )
            game.run(layout_of(tried[leaders[int(np.argmax(gains))]]), FULL)
    while not game.over:
        game.run(fixed_layouts(world)[0], FULL)


PLAYS = {"greedy": play_greedy, "evolution": play_evolution, "tpe": play_tpe}


def play(name: str, world: World, measure: Measure, replay: int, hints: Hints) -> dict[int, float]:
    """Return the regret of one strategy at each cost, in one replay."""
    rng = np.random.default_rng((replay, 7))
    if name == "fixed":
        game = Game(world, measure, best_mean)
        play_fixed(game, world)
    elif name == "either budget":
        game = Game(world, measure, partial(expected, budgets=(QUICK, FULL)))
        play_either(game, world, rng)
    elif name == "race of finalists":
        game = Game(world, measure, partial(expected, budgets=(QUICK, FULL)))
        play_race(game, world, rng)
    elif name in PLAYS:
        game = Game(world, measure, luckiest)
        PLAYS[name](game, world, rng)
    elif name == "random":
        game = Game(world, measure, luckiest)
        sampled(game, world, rng, propose_randomly, False, None)
    elif name == "random, posterior mean":
        game = Game(world, measure, expected)
        sampled(game, world, rng, propose_randomly, False, None)
    else:
        hints = hints if name != "default" else None
        game = Game(world, measure, partial(expected, hints=hints))
        sampled(game, world, rng, propose_by_surrogate, True, hints)
    return game.regret
