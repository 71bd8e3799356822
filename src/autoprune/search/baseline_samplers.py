"""Optuna's tree-structured Parzen estimator over layer flags, mended to legal layouts."""

from itertools import combinations
from math import comb

import numpy as np
import optuna
from numpy.typing import NDArray

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
from autoprune.search.trial import distributions, flag_names, flags


def propose_randomly(past: SearchHistory, rng: np.random.Generator) -> Layout:
    """Draw uniformly among the layouts not tried yet."""
    if comb(past.depth, past.keep) <= MAX_LISTED:
        rows = np.flatnonzero(_untried(past))
        return flags_to_layout(all_flags(past.depth, past.keep)[rng.choice(rows)])
    while True:
        layout = flags_to_layout(draw_flags(past.depth, past.keep, 1, rng)[0])
        if layout not in past.tried:
            return layout


def propose_in_order(past: SearchHistory, rng: np.random.Generator) -> Layout:  # noqa: ARG001
    """Take the first layout in lexical order that was not tried yet."""
    for kept in combinations(range(past.depth), past.keep):
        layout = Layout(past.depth, kept)
        if layout not in past.tried:
            return layout
    raise _exhausted(past)


def _untried(past: SearchHistory) -> NDArray[np.bool_]:
    """Return which rows of the grid were not tried yet; raises `StudyError` if there are none."""
    free = np.ones(comb(past.depth, past.keep), dtype=bool)
    free[[layout_rank(layout) for layout in past.tried]] = False
    if not free.any():
        raise _exhausted(past)
    return free


def _exhausted(past: SearchHistory) -> StudyError:
    return StudyError(
        f"all {comb(past.depth, past.keep)} layouts that keep {past.keep} of {past.depth} layers "
        "have been tried: no other is left"
    )


_STARTS = 10  # as Optuna has it

_DRAWS = 25


def propose_by_tree(past: SearchHistory, rng: np.random.Generator) -> Layout:
    """Take what Optuna's TPE draws, with its own settings, mended at random to exactly `keep`.

    A draw that was tried before is drawn again, at last uniformly. TPE sees the mended layouts,
    which are those that were measured, in a study of its own in memory.
    """
    if len(past.observed) < _STARTS:
        return propose_randomly(past, rng)
    sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    names = flag_names(past.depth)
    space = {name: distributions(past.depth)[name] for name in names}
    for one in past.observed:
        study.add_trial(
            optuna.trial.create_trial(
                params=flags(one.run.layout), distributions=dict(space), value=one.quality
            )
        )
    for _ in range(_DRAWS):
        drawn = study.ask(space)
        study.tell(drawn, state=optuna.trial.TrialState.FAIL)
        row = np.array([drawn.params[name] for name in names], dtype=np.int8)
        layout = flags_to_layout(repair_flags(row, past.keep, rng))
        if layout not in past.tried:
            return layout
    return propose_randomly(past, rng)


def repair_flags(row: LayerFlags, keep: int, rng: np.random.Generator) -> LayerFlags:
    """Return flags (depth,) with as many drawn at random as need be, so that `keep` are 1."""
    row = row.copy()
    while (surplus := int(row.sum()) - keep) != 0:
        row[rng.choice(np.flatnonzero(row == (surplus > 0)))] = int(surplus < 0)
    return row
