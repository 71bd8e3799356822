"""Ways that choose a run's budget too, each run from its begin: tried, not in the product."""

from dataclasses import replace

import numpy as np

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_randomly
from autoprune.search.gp_sampler import (
    MAX_STARTS,
    fit_surrogate,
    knowledge_gradient,
    propose_by_gp,
    top_candidates,
)
from autoprune.search.history import SearchHistory
from autoprune.search.search_space import all_flags, flags_to_layout, layout_to_flags
from replay import Game, fixed_layouts, past_of
from replay_tables import FULL, QUICK, World

_RACED, _FINALISTS = 0.35, 8


def play_either(game: Game, world: World, rng: np.random.Generator) -> None:
    """Choose the budget too: of quick and full runs, what is worth most for its cost."""
    space, layouts = all_flags(world.depth, world.keep), fixed_layouts(world)
    while not game.over:
        made = len(game.observed)
        if made < MAX_STARTS:
            game.run(
                layouts[made]
                if made < len(layouts)
                else propose_randomly(past_of(game, world), rng)
            )
            continue
        surrogate = fit_surrogate(game.observed, budgets=(QUICK, FULL))
        mean, std = surrogate.predict(space)
        rows = top_candidates(mean, std, float(mean.max()))
        worth = {
            budget: knowledge_gradient(mean[rows], surrogate.teaches(space[rows], None, budget))
            / budget
            for budget in (QUICK, FULL)
        }
        budget = max(worth, key=lambda one: float(worth[one].max()))
        game.run(flags_to_layout(space[rows[int(np.argmax(worth[budget]))]]), budget)


def _quick(past: SearchHistory, rng: np.random.Generator) -> Layout:
    proposed = propose_by_gp(past, rng)
    assert isinstance(proposed, Layout), "this past does not promote"
    return proposed


def play_race(game: Game, world: World, rng: np.random.Generator) -> None:
    """Spend two thirds up to each cost on quick runs, the rest on full runs of the leaders."""
    begin = iter(fixed_layouts(world))
    for cost in game.costs:
        until = game.spent + (1 - _RACED) * (cost - game.spent)
        while game.spent + QUICK <= until:
            past = past_of(game, world)
            quick = tuple(one for one in past.observed if one.run.fidelity == QUICK)
            past = replace(past, observed=quick)
            game.run(next(begin, None) or _quick(past, rng))
        while game.spent + FULL <= cost + 1e-9:
            tried = np.unique(layout_to_flags([one.run.layout for one in game.observed]), axis=0)
            surrogate = fit_surrogate(game.observed, budgets=(QUICK, FULL))
            means, _ = surrogate.predict(tried)
            leaders = np.argsort(-means)[:_FINALISTS]
            gains = knowledge_gradient(
                means[leaders], surrogate.teaches(tried[leaders], None, FULL)
            )
            game.run(flags_to_layout(tried[leaders[int(np.argmax(gains))]]), FULL)
    while not game.over:
        game.run(fixed_layouts(world)[0], FULL)
