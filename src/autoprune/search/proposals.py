"""Rules that propose the next layout from what a study knows: one function each."""

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import StudyError
from autoprune.layouts.layout import Layout
from autoprune.search.past import Past
from autoprune.search.space import (
    LISTABLE,
    Flags,
    draw,
    flags_of,
    grid,
    layout_of,
    neighbours,
    rank,
)
from autoprune.search.surrogate import Surrogate, Values, expected_improvement

STARTS = 5
"""Layouts tried before the first model is fitted, the enqueued strategies among them."""

_SEEDS = 10  # best layouts whose neighbours are looked at, where the space cannot be listed
_SAMPLES = 2_000  # random layouts looked at beside them
_CLIMBS = 3  # best of all these from which swaps climb further


def propose_randomly(past: Past, rng: np.random.Generator) -> Layout:
    """Draw uniformly among the layouts not tried yet."""
    if comb(past.depth, past.keep) <= LISTABLE:
        rows = np.flatnonzero(_untried(past))
        return layout_of(grid(past.depth, past.keep)[rng.choice(rows)])
    while True:
        layout = layout_of(draw(past.depth, past.keep, 1, rng)[0])
        if layout not in past.tried:
            return layout


def propose_in_order(past: Past, rng: np.random.Generator) -> Layout:  # noqa: ARG001
    """Take the first layout in lexical order that was not tried yet."""
    for kept in combinations(range(past.depth), past.keep):
        layout = Layout(past.depth, kept)
        if layout not in past.tried:
            return layout
    raise _exhausted(past)


def propose_by_surrogate(past: Past, rng: np.random.Generator) -> Layout:
    """Take the untried layout of the greatest expected improvement under a Gaussian process.

    Runs under way count as if they had ended as expected, so that workers do not crowd together.
    """
    if len(past.tried) < STARTS or not past.observed:
        return propose_randomly(past, rng)
    seen = flags_of([layout for layout, _ in past.observed])
    surrogate = Surrogate.fit(seen, np.array([quality for _, quality in past.observed]))
    if past.running:
        surrogate = surrogate.believe(flags_of(past.running))
    means, _ = surrogate.predict(seen)
    if comb(past.depth, past.keep) <= LISTABLE:
        rows = np.flatnonzero(_untried(past))
        candidates = grid(past.depth, past.keep)[rng.permutation(rows)]  # equals: by chance
    else:
        best = np.unique(seen[np.argsort(-means, kind="stable")[:_SEEDS]], axis=0)
        pool = [neighbours(row) for row in best]
        pool.append(draw(past.depth, past.keep, _SAMPLES, rng))
        candidates = _climb(np.concatenate(pool), past, surrogate, float(means.max()))
    gains = _gains(candidates, surrogate, float(means.max()))
    return layout_of(candidates[int(np.argmax(gains))])


def _gains(flags: Flags, surrogate: Surrogate, incumbent: float) -> Values:
    """Return the expected improvement of each row."""
    return expected_improvement(*surrogate.predict(flags), incumbent)


def _climb(pool: Flags, past: Past, surrogate: Surrogate, incumbent: float) -> Flags:
    """Return the ends of swap ascents on expected improvement from the best of `pool`."""
    pool = _without(pool, past)
    order = np.argsort(-_gains(pool, surrogate, incumbent), kind="stable")[:_CLIMBS]
    ends = []
    for row in pool[order]:
        gain = _gains(row[None, :], surrogate, incumbent)[0]
        while len(near := _without(neighbours(row), past)):
            gains = _gains(near, surrogate, incumbent)
            if gains.max() <= gain:
                break
            row, gain = near[int(np.argmax(gains))], gains.max()
        ends.append(row)
    return np.array(ends)


def _without(flags: Flags, past: Past) -> Flags:
    """Return the rows that were not tried yet."""
    tried = {layout.flags for layout in past.tried}
    return flags[[tuple(row) not in tried for row in flags.tolist()]]


def _untried(past: Past) -> NDArray[np.bool_]:
    """Return which rows of the grid were not tried yet; raises `StudyError` if there are none."""
    free = np.ones(comb(past.depth, past.keep), dtype=bool)
    free[[rank(layout) for layout in past.tried]] = False
    if not free.any():
        raise _exhausted(past)
    return free


def _exhausted(past: Past) -> StudyError:
    return StudyError(
        f"all {comb(past.depth, past.keep)} layouts that keep {past.keep} of {past.depth} layers "
        "have been tried: no other is left"
    )
