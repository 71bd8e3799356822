"""Pareto front: known knees, known limits, and what can never be recommended."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.evaluation.pareto import (
    Limits,
    broken_limits,
    is_dominated,
    knee_point,
    smallest_within,
)
from made_fronts import CURVE, FULL, front, point


def test_knee_point_is_where_the_curve_bends():
    assert knee_point(CURVE).keep == 4


def test_knee_point_is_never_dominated():
    worse = point(5, 0.60)
    assert is_dominated(worse, [*CURVE, worse])
    assert knee_point([*CURVE, worse]).keep == 4


def test_is_dominated_is_false_for_equal_points():
    assert not is_dominated(CURVE[0], [CURVE[0], CURVE[0]])


@pytest.mark.parametrize("kept", [[4], [2, 6]])
def test_knee_point_without_a_bend_is_the_best(kept):
    few = [each for each in CURVE if each.keep in kept]
    assert knee_point(few).keep == max(kept)


@pytest.mark.parametrize(
    ("limits", "keep"),
    [
        (Limits(drop=3.0), 4),
        (Limits(drop=2.0), 6),
        (Limits(drop=15.0), 3),
        (Limits(latency_ms=3.5), 2),
        (Limits(megabytes=6.0, drop=2.5), 6),
    ],
)
def test_smallest_within_returns_the_fewest_layers_that_keep_the_limits(limits, keep):
    assert smallest_within(CURVE, FULL, limits, "accuracy").keep == keep


def test_broken_limits_names_each_broken_limit_with_its_figure():
    limits = Limits(drop=1.0, latency_ms=5.0)
    assert smallest_within(CURVE, FULL, limits, "accuracy") is None
    assert broken_limits(CURVE[2], FULL, limits, "accuracy") == ["3.0 points below the full model"]
    assert broken_limits(CURVE[3], FULL, limits, "accuracy") == [
        "2.0 points below the full model",
        "6.0 ms a text",
    ]


@given(st.lists(st.tuples(st.integers(1, 11), st.floats(0.1, 1.0)), min_size=1, max_size=9))
def test_smallest_within_is_the_smallest_of_those_that_keep_the_limits(pairs):
    points = [point(keep, quality) for keep, quality in pairs]
    assert not is_dominated(knee_point(points), points)
    chosen = smallest_within(points, FULL, Limits(drop=10.0), "accuracy")
    within = [each for each in points if 100 * (0.80 - each.validation) <= 10.0 + 1e-9]
    assert (chosen is None) == (within == [])
    assert all(chosen.keep <= each.keep for each in within)


@pytest.mark.parametrize(
    ("limits", "keep"),
    [(Limits(), 4), (Limits(drop=2.0), 6), (Limits(megabytes=3.5), 2), (Limits(drop=0.1), None)],
)
def test_chosen_point_follows_the_limits_else_the_knee(limits, keep):
    made = front(limits)
    assert made.knee.keep == 4
    assert (made.chosen and made.chosen.keep) == keep


@pytest.mark.parametrize("qualities", [(0.50, 0.52, 0.60, 0.80), (0.5, 0.6, 0.7, 0.8)])
def test_knee_point_of_a_curve_that_never_flattens_is_its_best_point(qualities):
    steeper = [point(keep, quality) for keep, quality in zip((2, 3, 4, 5), qualities, strict=True)]
    made = front(points=steeper)
    assert (made.knee.keep, made.bends) == (5, False)
    assert front().bends


def test_layout_that_learned_nothing_is_never_chosen():
    idle, learned = dataclasses.replace(point(2, 0.9), learned=False), point(4, 0.6)
    for limits in (Limits(), Limits(drop=50.0)):
        both = front(limits, [idle, learned])
        assert both.chosen == both.knee == learned
        assert front(limits, [idle]).chosen is None
