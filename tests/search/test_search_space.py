from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.layouts.layout import Layout, all_layouts
from autoprune.search import search_space

SHAPES = st.integers(2, 9).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d - 1)))


@given(SHAPES)
def test_all_flags_and_layout_rank_agree(shape):
    depth, keep = shape
    layouts = all_layouts(depth, keep)
    assert [
        search_space.flags_to_layout(row) for row in search_space.all_flags(depth, keep)
    ] == layouts
    assert [search_space.layout_rank(layout) for layout in layouts] == list(
        range(comb(depth, keep))
    )


def test_layout_rank_of_48_layers_is_exact():
    assert search_space.layout_rank(Layout(48, tuple(range(24, 48)))) == comb(48, 24) - 1


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_swap_neighbours_are_one_swap_away(shape, seed):
    depth, keep = shape
    row = search_space.draw_flags(depth, keep, 1, np.random.default_rng(seed))[0]
    near = search_space.swap_neighbours(row)
    assert len(np.unique(near, axis=0)) == len(near) == keep * (depth - keep)
    assert (near.sum(axis=1) == keep).all()
    assert (np.abs(near - row).sum(axis=1) == 2).all()


def test_draw_flags_is_uniform():
    rows = search_space.draw_flags(5, 2, 20_000, np.random.default_rng(0))
    counts = np.bincount(
        [search_space.layout_rank(search_space.flags_to_layout(row)) for row in rows], minlength=10
    )
    assert counts == pytest.approx([2000] * 10, abs=200)


def test_flags_to_layout_reverses_layout_to_flags():
    layouts = all_layouts(6, 2)
    assert [
        search_space.flags_to_layout(row) for row in search_space.layout_to_flags(layouts)
    ] == layouts
