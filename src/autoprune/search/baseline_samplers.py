"""Baseline samplers: random search, brute force, evolution, and Optuna's TPE."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb

import numpy as np
import optuna

from autoprune.errors import StudyError
from autoprune.layouts.layout import Layout
from autoprune.search.history import SearchHistory
from autoprune.search.search_space import (
    MAX_LISTED,
    LayerFlags,
    all_flags,
    draw_flags,
    flags_to_layout,
    layout_rank,
)
from autoprune.search.trial import distributions, flag_names, flag_params

_TPE_STARTS = 10  # random trials before TPE starts, as in Optuna

_TPE_DRAWS = 25  # draws that may repeat a layout before one is drawn uniformly


def propose_randomly(history: SearchHistory, rng: np.random.Generator) -> Layout:
    """Draw uniformly among the layouts that were not tried yet."""
    if comb(history.depth, history.keep) <= MAX_LISTED:
        space = all_flags(history.depth, history.keep)
        untried = np.array(space[:, list(history.required)].all(axis=1))
        untried[[layout_rank(layout) for layout in history.tried_layouts]] = False
        if not untried.any():
            raise _exhausted(history)
        row = rng.choice(np.flatnonzero(untried))
        return flags_to_layout(space[row])
    while True:
        layout = flags_to_layout(draw_flags(history.depth, history.keep, 1, rng)[0])
        if history.is_new(layout):
            return layout


def propose_in_order(history: SearchHistory, rng: np.random.Generator) -> Layout:  # noqa: ARG001
    """Take the first layout in lexical order that was not tried yet."""
    for kept in combinations(range(history.depth), history.keep):
        layout = Layout(history.depth, kept)
        if history.is_new(layout):
            return layout
    raise _exhausted(history)


def _exhausted(history: SearchHistory) -> StudyError:
    depth, keep = history.depth, history.keep
    return StudyError(
        f"all {history.layouts} layouts that keep {keep} of {depth} layers have been tried: no "
        "other is left"
    )


def propose_by_tpe(history: SearchHistory, rng: np.random.Generator) -> Layout:
    """Draw with Optuna's TPE and its default settings, repaired at random to exactly `keep` layers.

    A layout that was tried before is drawn again, in the end uniformly. TPE learns from the
    repaired layouts, which are those that were measured, in a new study in memory.
    """
    if len(history.observations) < _TPE_STARTS:
        return propose_randomly(history, rng)
    sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    names, space = flag_names(history.depth), distributions(history.depth)
    for observation in history.observations:
        study.add_trial(
            optuna.trial.create_trial(
                params=flag_params(observation.run.layout),
                distributions=dict(space),
                value=observation.quality,
            )
        )
    for _ in range(_TPE_DRAWS):
        trial = study.ask(space)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        row = np.array([trial.params[name] for name in names], dtype=np.int8)
        layout = flags_to_layout(repair_flags(row, history.keep, rng))
        if history.is_new(layout):
            return layout
    return propose_randomly(history, rng)


def repair_flags(row: LayerFlags, keep: int, rng: np.random.Generator) -> LayerFlags:
    """Return flags (depth,) with some set or cleared at random, so that `keep` are 1."""
    row = row.copy()
    while (surplus := int(row.sum()) - keep) != 0:
        row[rng.choice(np.flatnonzero(row == (surplus > 0)))] = int(surplus < 0)
    return row


LayoutLosses = Callable[[Sequence[Layout]], list[float]]


def evolve(
    losses: LayoutLosses,
    depth: int,
    keep: int,
    seed: int,
    generations: int = 40,
    parents: int = 8,
    children: int = 32,
) -> list[tuple[Layout, float]]:
    """Return all scored layouts with their losses, the lowest loss first.

    In each generation, `children` new layouts are made from the best `parents` so far by exchanging
    one layer, or rarely more, and scored together. No layout is scored twice; the same seed gives
    the same result. After EvoPress (Sieberling et al. 2024, https://arxiv.org/abs/2410.14649),
    with a population instead of a single parent.
    """
    rng = np.random.default_rng(seed)
    scored: dict[Layout, float] = {}
    best: list[Layout] = []

    def draw() -> Layout:
        return Layout(depth, tuple(sorted(rng.choice(depth, keep, replace=False).tolist())))

    def make_child() -> Layout:
        return _mutate(best[int(rng.integers(len(best)))], rng)

    generation = _new_layouts(scored, children, draw)
    for _ in range(generations):
        scored |= dict(zip(generation, losses(generation), strict=True))
        best = sorted(scored, key=lambda layout: (scored[layout], layout.keep))[:parents]
        generation = _new_layouts(scored, children, make_child)
        if not generation:
            break
    return sorted(scored.items(), key=lambda pair: (pair[1], pair[0].keep))


def _new_layouts(
    scored: dict[Layout, float], number: int, make: Callable[[], Layout], max_attempts: int = 50
) -> list[Layout]:
    """Make up to `number` layouts that are not in `scored`; fewer where hardly any are left."""
    layouts: dict[Layout, None] = {}
    for _ in range(number * max_attempts):
        layout = make()
        if layout not in scored:
            layouts[layout] = None
        if len(layouts) == number:
            break
    return list(layouts)


def _mutate(layout: Layout, rng: np.random.Generator) -> Layout:
    """Exchange a kept layer for a removed one; with probability 1/2 another one, and so on."""
    kept, removed = set(layout.keep), set(range(layout.depth)) - set(layout.keep)
    while kept and removed:
        out, into = int(rng.choice(sorted(kept))), int(rng.choice(sorted(removed)))
        kept ^= {out, into}
        removed ^= {out, into}
        if rng.random() < 0.5:
            break
    return Layout(layout.depth, tuple(sorted(kept)))
