"""Strategies of choosing layers, as replays in a world: each measures runs and chooses a layout."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import optuna
from optuna.trial import TrialState

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_randomly, repair_flags
from autoprune.search.gp_sampler import propose_by_gp
from autoprune.search.history import MAX_PAUSED
from autoprune.search.sampler import ProposeLayout
from autoprune.search.search_space import flags_to_layout, swap_neighbours
from autoprune.search.trial import TrialRun, distributions, flag_names, flag_params
from replay import (
    Measure,
    Observed,
    ProxyScores,
    Replay,
    choose_best_observed,
    choose_best_posterior,
    fixed_layouts,
    search_history,
)
from replay_budgets import replay_either_budget, replay_race
from replay_tables import FULL, QUICK, World
from replay_worlds import SUPERNET_QUICK

_TPE_DRAWS = 25  # at most, until one is a layout that was not tried yet
SUPERNET_COST = 0.9  # in full fine-tunes


@dataclass(frozen=True, slots=True)
class SamplerReplay:
    """How a sampler is replayed.

    `fixed_first`: begin with the fixed strategies, as `search` does. Runs have `fidelity`. Of
    `every` paused runs at least one goes on; None: none does.
    """

    propose: ProposeLayout
    fixed_first: bool
    proxy_scores: ProxyScores = None
    every: int | None = None
    fidelity: float = QUICK

    def run(self, replay: Replay, world: World, rng: np.random.Generator) -> None:
        """Measure what the sampler proposes, until the last cost is spent."""
        starts = iter(fixed_layouts(world) if self.fixed_first else ())
        while not replay.is_over:
            history = replace(search_history(replay, world), proxy_scores=self.proxy_scores)
            if self.every is not None:
                history = replace(history, promote=True, max_paused=self.every)
            proposal = next(starts, None) or self.propose(history, rng)
            if isinstance(proposal, TrialRun):
                replay.measure_run(proposal, FULL - QUICK)
            else:
                replay.measure_layout(proposal, self.fidelity)


def replay_fixed(replay: Replay, world: World) -> None:
    """Fine-tune the fixed strategies with the full budget, in turn."""
    while not replay.is_over:
        for layout in fixed_layouts(world):
            replay.measure_layout(layout, FULL)


def choose_best_mean(observed: Observed) -> Layout:
    """Choose the layout of the best mean over its runs."""
    qualities: dict[Layout, list[float]] = {}
    for observation in observed:
        qualities.setdefault(observation.run.layout, []).append(observation.quality)
    return max(qualities, key=lambda layout: statistics.mean(qualities[layout]))


def replay_greedy(replay: Replay, world: World, rng: np.random.Generator) -> None:
    """Exchange one layer while that is better, from the best fixed strategy; then restart."""
    scores = {layout: replay.measure_layout(layout) for layout in fixed_layouts(world)}
    current = max(scores, key=lambda layout: scores[layout])
    while not replay.is_over:
        neighbours = [
            flags_to_layout(row)
            for row in rng.permutation(swap_neighbours(np.array(current.flags)))
        ]
        for layout in [layout for layout in neighbours if layout not in scores]:
            scores[layout] = replay.measure_layout(layout)
            if scores[layout] > scores[current] or replay.is_over:
                current = layout
                break
        else:
            current = propose_randomly(search_history(replay, world), rng)
            scores[current] = replay.measure_layout(current)


def replay_evolution(replay: Replay, world: World, rng: np.random.Generator) -> None:
    """Keep one parent; the best of 8 children by exchanges replaces it if better (EvoPress)."""
    scores: dict[Layout, float] = {}
    parent = propose_randomly(search_history(replay, world), rng)
    scores[parent] = replay.measure_layout(parent)
    while not replay.is_over:
        children = list(islice(_children(parent, scores, rng), 8))
        for child in children:
            scores[child] = replay.measure_layout(child)
        parent = max([parent, *children], key=lambda layout: scores[layout])


def _children(
    parent: Layout, scores: dict[Layout, float], rng: np.random.Generator
) -> Iterator[Layout]:
    while True:
        row = np.array(parent.flags)
        for _ in range(int(min(rng.integers(1, 4), rng.integers(1, 4)))):
            row = rng.permutation(swap_neighbours(row))[0]
        child = flags_to_layout(row)
        if child not in scores:
            yield child


def replay_tpe(replay: Replay, world: World, rng: np.random.Generator) -> None:
    """Draw flags with Optuna's TPE, repaired at random to the number of layers to keep.

    A layout that was tried is drawn again, a few times. The rule of `search --sampler tpe`, in one
    study throughout, which is faster.
    """
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    )
    space = {name: distributions(world.depth)[name] for name in flag_names(world.depth)}
    tried: set[Layout] = set()
    while not replay.is_over:
        for _ in range(_TPE_DRAWS):
            trial = study.ask(space)
            study.tell(trial, state=TrialState.FAIL)
            layout = flags_to_layout(
                repair_flags(np.array(list(trial.params.values())), world.keep, rng)
            )
            if layout not in tried:
                break
        else:
            layout = propose_randomly(search_history(replay, world), rng)
        tried.add(layout)
        value = replay.measure_layout(layout)
        study.add_trial(
            optuna.trial.create_trial(
                params=flag_params(layout), distributions=dict(space), value=value
            )
        )


PROMOTIONS = {"promotion": MAX_PAUSED, "promotion of half": 2, "promotion by gain": 10**9}
SUPERNETS = {"from a supernet": 1, "from two supernets": 2}
HEURISTICS = {"greedy": replay_greedy, "evolution": replay_evolution, "tpe": replay_tpe}
BUDGETS: dict[str, Callable[[Replay, World, np.random.Generator], None]] = {
    "either budget": replay_either_budget,
    "race of finalists": replay_race,
}


def replay_strategy(
    name: str,
    world: World,
    measure: Measure,
    number: int,
    proxy_scores: ProxyScores,
    costs: Sequence[int],
) -> dict[int, Layout]:
    """Return what a strategy chooses at each cost, in the replay of this number."""
    rng, start = np.random.default_rng((number, 7)), partial(Replay, measure, costs=costs)
    if name == "fixed":
        replay = start(choose_best_mean)
        replay_fixed(replay, world)
    elif name in BUDGETS:
        replay = start(partial(choose_best_posterior, budgets=(QUICK, FULL)))
        BUDGETS[name](replay, world, rng)
    elif name in HEURISTICS:
        replay = start(choose_best_observed)
        HEURISTICS[name](replay, world, rng)
    elif name == "random":
        replay = start(choose_best_observed)
        SamplerReplay(propose_randomly, False).run(replay, world, rng)
    elif name in PROMOTIONS:
        replay = start(partial(choose_best_posterior, budgets=(FULL,)))
        SamplerReplay(propose_by_gp, True, every=PROMOTIONS[name]).run(replay, world, rng)
    elif name in SUPERNETS:
        replay = start(choose_best_posterior)
        replay.spent = SUPERNETS[name] * SUPERNET_COST
        SamplerReplay(propose_by_gp, True, fidelity=SUPERNET_QUICK).run(replay, world, rng)
    elif name == "random, posterior mean":
        replay = start(choose_best_posterior)
        SamplerReplay(propose_randomly, False).run(replay, world, rng)
    else:
        proxy_scores = proxy_scores if name != "default" else None
        replay = start(partial(choose_best_posterior, proxy_scores=proxy_scores))
        SamplerReplay(propose_by_gp, True, proxy_scores).run(replay, world, rng)
    return replay.chosen
