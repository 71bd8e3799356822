"""Search space: layouts as arrays of flags, to list, rank and draw them and find neighbours."""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout, all_layouts

LayerFlags = NDArray[np.int8]

MAX_LISTED = 200_000
"""Up to so many layouts, the whole space is kept in memory and searched for each proposal."""


def layout_to_flags(layouts: Sequence[Layout]) -> LayerFlags:
    """Return one row of flags for each layout: (layouts, depth), 1 where a layer is kept."""
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

    >>> layout_rank(Layout(3, (0, 2)))
    1
    """
    depth, keep = layout.depth, len(layout.keep)
    after = sum(comb(depth - 1 - layer, keep - i) for i, layer in enumerate(layout.keep))
    return comb(depth, keep) - 1 - after


def draw_flags(depth: int, keep: int, rows: int, rng: np.random.Generator) -> LayerFlags:
    """Draw layouts uniformly with replacement: (rows, depth)."""
    order = rng.random((rows, depth)).argsort(axis=1)  # (rows, depth), each a permutation
    return (order < keep).astype(np.int8)


def with_required(flags: LayerFlags, required: Sequence[int]) -> LayerFlags:
    """Return the rows that keep all layers in `required`."""
    return np.asarray(flags[flags[:, list(required)].all(axis=1)]) if required else flags


def swap_neighbours(flags: LayerFlags) -> LayerFlags:
    """Return all layouts one swap away from a row of flags: (keep * (depth - keep), depth)."""
    kept, removed = np.flatnonzero(flags), np.flatnonzero(flags == 0)
    out, into = (pair.ravel() for pair in np.meshgrid(kept, removed, indexing="ij"))
    neighbours = np.repeat(flags[None, :], len(out), axis=0)
    rows = np.arange(len(out))
    neighbours[rows, out] = 0
    neighbours[rows, into] = 1
    return neighbours
