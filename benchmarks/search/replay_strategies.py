"""The ways of choosing layers, as replays on a world: each spends runs and names a layout."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from autoprune.search.trial import TrialRun, distributions, flag_names, flags
from replay import Game, Hints, Measure, Observed, expected, fixed_layouts, luckiest, past_of
from replay_budgets import play_either, play_race
from replay_tables import FULL, QUICK, World
from replay_worlds import TUNED

_DRAWS = 25  # of TPE, for one layout that was not tried yet


def sampled(
    game: Game,
    world: World,
    rng: np.random.Generator,
    propose: ProposeLayout,
    first: bool,
    hints: Hints,
    every: int | None = None,
    fidelity: float = QUICK,
) -> None:
    """Play a sampler; `first` are the fixed strategies, as `search` begins.

    Runs have `fidelity`. Of `every` runs that paused at least one goes on; None: none does.
    """
    begin = iter(fixed_layouts(world) if first else ())
    while not game.over:
        past = replace(past_of(game, world), hints=hints)
        past = past if every is None else replace(past, promotes=True, every=every)
        next_one = next(begin, None) or propose(past, rng)
        if isinstance(next_one, TrialRun):
            game.make(next_one, FULL - QUICK)
        else:
            game.run(next_one, fidelity)


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
        near = [
            flags_to_layout(row) for row in rng.permutation(swap_neighbours(np.array(here.flags)))
        ]
        near = [layout for layout in near if layout not in scores]
        for layout in near:
            scores[layout] = game.run(layout)
            if scores[layout] > scores[here] or game.over:
                here = layout
                break
        else:
            here = propose_randomly(past_of(game, world), rng)
            scores[here] = game.run(here)


def play_evolution(game: Game, world: World, rng: np.random.Generator) -> None:
    """Keep one parent; of 8 children by exchanges the best replaces it if better (EvoPress)."""
    scores: dict[Layout, float] = {}
    parent = propose_randomly(past_of(game, world), rng)
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
            layout = flags_to_layout(
                repair_flags(np.array(list(drawn.params.values())), world.keep, rng)
            )
            if layout not in tried:
                break
        else:
            layout = propose_randomly(past_of(game, world), rng)
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
            row = rng.permutation(swap_neighbours(row))[0]
        child = flags_to_layout(row)
        if child not in scores:
            yield child


PROMOTIONS = {"promotion": MAX_PAUSED, "promotion of half": 2, "promotion by gain": 10**9}
SUPERNETS = {"from a supernet": 1, "from two supernets": 2}
NET = 0.9  # what a supernet costs, in full fine-tunes
PLAYS = {"greedy": play_greedy, "evolution": play_evolution, "tpe": play_tpe}


def play(
    name: str,
    world: World,
    measure: Measure,
    replay: int,
    hints: Hints,
    costs: Sequence[int],
) -> dict[int, Layout]:
    """Return what one strategy chooses at each cost, in one replay."""
    rng, begin = np.random.default_rng((replay, 7)), partial(Game, measure, costs=costs)
    if name == "fixed":
        game = begin(best_mean)
        play_fixed(game, world)
    elif name == "either budget":
        game = begin(partial(expected, budgets=(QUICK, FULL)))
        play_either(game, world, rng)
    elif name == "race of finalists":
        game = begin(partial(expected, budgets=(QUICK, FULL)))
        play_race(game, world, rng)
    elif name in PLAYS:
        game = begin(luckiest)
        PLAYS[name](game, world, rng)
    elif name == "random":
        game = begin(luckiest)
        sampled(game, world, rng, propose_randomly, False, None)
    elif name in PROMOTIONS:
        game = begin(partial(expected, budgets=(FULL,)))
        sampled(game, world, rng, propose_by_gp, True, None, PROMOTIONS[name])
    elif name in SUPERNETS:
        game = begin(expected)
        game.spent = SUPERNETS[name] * NET
        sampled(game, world, rng, propose_by_gp, True, None, fidelity=TUNED)
    elif name == "random, posterior mean":
        game = begin(expected)
        sampled(game, world, rng, propose_randomly, False, None)
    else:
        hints = hints if name != "default" else None
        game = begin(partial(expected, hints=hints))
        sampled(game, world, rng, propose_by_gp, True, hints)
    return game.chosen
