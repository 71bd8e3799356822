"""Strategies that choose the budget of each run too: tried, not part of the package."""

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
from replay import Replay, fixed_layouts, search_history
from replay_tables import FULL, QUICK, World

_FULL_SHARE, _FINALISTS = 0.35, 8


def replay_either_budget(replay: Replay, world: World, rng: np.random.Generator) -> None:
    """Choose quick or full runs, whichever has the higher knowledge gradient for its cost."""
    space, layouts = all_flags(world.depth, world.keep), fixed_layouts(world)
    while not replay.is_over:
        count = len(replay.observed)
        if count < MAX_STARTS:
            replay.measure_layout(
                layouts[count]
                if count < len(layouts)
                else propose_randomly(search_history(replay, world), rng)
            )
            continue
        surrogate = fit_surrogate(replay.observed, budgets=(QUICK, FULL))
        mean, std = surrogate.predict(space)
        rows = top_candidates(mean, std, float(mean.max()))
        gains = {
            budget: knowledge_gradient(
                mean[rows], surrogate.posterior_mean_shift(space[rows], None, budget)
            )
            / budget
            for budget in (QUICK, FULL)
        }
        budget = max(gains, key=lambda budget: float(gains[budget].max()))
        best = rows[int(np.argmax(gains[budget]))]
        replay.measure_layout(flags_to_layout(space[best]), budget)


def replay_race(replay: Replay, world: World, rng: np.random.Generator) -> None:
    """Spend 65 % up to each cost on quick runs, and the rest on full runs of the leaders."""
    starts = iter(fixed_layouts(world))
    for cost in replay.costs:
        quick_until = replay.spent + (1 - _FULL_SHARE) * (cost - replay.spent)
        while replay.spent + QUICK <= quick_until:
            history = search_history(replay, world)
            quick = tuple(run for run in history.observations if run.run.fidelity == QUICK)
            history = replace(history, observations=quick)
            replay.measure_layout(next(starts, None) or _propose_layout(history, rng))
        while replay.spent + FULL <= cost + 1e-9:
            tried = np.unique(layout_to_flags([run.run.layout for run in replay.observed]), axis=0)
            surrogate = fit_surrogate(replay.observed, budgets=(QUICK, FULL))
            means, _ = surrogate.predict(tried)
            leaders = np.argsort(-means)[:_FINALISTS]
            gains = knowledge_gradient(
                means[leaders], surrogate.posterior_mean_shift(tried[leaders], None, FULL)
            )
            best = leaders[int(np.argmax(gains))]
            replay.measure_layout(flags_to_layout(tried[best]), FULL)
    while not replay.is_over:
        replay.measure_layout(fixed_layouts(world)[0], FULL)


def _propose_layout(history: SearchHistory, rng: np.random.Generator) -> Layout:
    proposal = propose_by_gp(history, rng)
    assert isinstance(proposal, Layout), "this history does not promote"
    return proposal
