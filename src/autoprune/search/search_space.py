"""The space of layouts as arrays of flags: listing, ranking, drawing, neighbours."""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout, every

Flags = NDArray[np.int8]

LISTABLE = 200_000
"""Up to so many layouts the whole space is held in memory and looked at for each proposal."""


def flags_of(layouts: Sequence[Layout]) -> Flags:
    """Return one row of flags per layout: (layouts, depth), 1 where a layer is kept."""
    return np.array([layout.flags for layout in layouts], dtype=np.int8)


def layout_of(flags: Flags) -> Layout:
    """Return the layout of one row of flags: (depth,)."""
    return Layout(len(flags), tuple(int(layer) for layer in np.flatnonzero(flags)))


@lru_cache(maxsize=4)
def grid(depth: int, keep: int) -> Flags:
    """Return all layouts in lexical order: (layouts, depth), read-only."""
    flags = flags_of(every(depth, keep))
    flags.flags.writeable = False
    return flags


def rank(layout: Layout) -> int:
    """Return the row of `layout` in `grid`.

    >>> rank(Layout(3, (0, 2)))
    1
    """
    depth, keep = layout.depth, len(layout.keep)
    after = sum(comb(depth - 1 - layer, keep - i) for i, layer in enumerate(layout.keep))
    return comb(depth, keep) - 1 - after


def draw(depth: int, keep: int, rows: int, rng: np.random.Generator) -> Flags:
    """Draw layouts uniformly, repeats possible: (rows, depth)."""
    order = rng.random((rows, depth)).argsort(axis=1)  # (rows, depth), each a permutation
    return (order < keep).astype(np.int8)


def neighbours(flags: Flags) -> Flags:
    """Return the layouts one swap away from one row: (keep * (depth - keep), depth)."""
    kept, removed = np.flatnonzero(flags), np.flatnonzero(flags == 0)
    out, into = (pair.ravel() for pair in np.meshgrid(kept, removed, indexing="ij"))
    near = np.repeat(flags[None, :], len(out), axis=0)
    rows = np.arange(len(out))
    near[rows, out] = 0
    near[rows, into] = 1
    return near
