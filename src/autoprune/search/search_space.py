"""The space of layouts as arrays of flags: listing, ranking, drawing, neighbours."""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout, all_layouts

LayerFlags = NDArray[np.int8]

MAX_LISTED = 200_000
"""Up to so many layouts the whole space is held in memory and looked at for each proposal."""


def layout_to_flags(layouts: Sequence[Layout]) -> LayerFlags:
    """Return one row of flags per layout: (layouts, depth), 1 where a layer is kept."""
    return np.array([layout.flags for layout in layouts], dtype=np.int8)


def flags_to_layout(flags: LayerFlags) -> Layout:
    """Return the layout of one row of flags: (depth,)."""
    return Layout(len(flags), tuple(int(layer) for layer in np.flatnonzero(flags)))


@lru_cache(maxsize=4)
def all_flags(depth: int, keep: int) -> LayerFlags:
    """Return all layouts in lexical order: (layouts, depth), read-only."""
    flags = layout_to_flags(all_layouts(depth, keep))
    flags.flags.writeable = False
    return flags


def layout_rank(layout: Layout) -> int:
    """Return the row of `layout` in `all_flags`.

    >>> rank(Layout(3, (0, 2)))
    1
    """
    depth, keep = layout.depth, len(layout.keep)
    after = sum(comb(depth - 1 - layer, keep - i) for i, layer in enumerate(layout.keep))
    return comb(depth, keep) - 1 - after


def draw_flags(depth: int, keep: int, rows: int, rng: np.random.Generator) -> LayerFlags:
    """Draw layouts uniformly, repeats possible: (rows, depth)."""
    order = rng.random((rows, depth)).argsort(axis=1)  # (rows, depth), each a permutation
    return (order < keep).astype(np.int8)


def swap_neighbours(flags: LayerFlags) -> LayerFlags:
    """Return the layouts one swap away from one row: (keep * (depth - keep), depth)."""
    kept, removed = np.flatnonzero(flags), np.flatnonzero(flags == 0)
    out, into = (pair.ravel() for pair in np.meshgrid(kept, removed, indexing="ij"))
    near = np.repeat(flags[None, :], len(out), axis=0)
    rows = np.arange(len(out))
    near[rows, out] = 0
    near[rows, into] = 1
    return near
