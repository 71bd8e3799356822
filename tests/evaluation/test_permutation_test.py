"""The paired permutation test is the share of all exchanges of rows, in every metric."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from autoprune.evaluation import permutation_test
from autoprune.evaluation.permutation_test import (
    Predictions,
    paired_difference,
    paired_permutation_test,
    sign_flip_test,
)
from autoprune.training.metrics import METRICS, Metric, row_mean
from autoprune.training.problem_types import SINGLE_LABEL

differences = st.lists(st.integers(-3, 3), min_size=1, max_size=9)

seven = st.lists(st.integers(0, 2), min_size=7, max_size=7)


def all_exchanges(pairs, rows):
    """Return the p-value by computing the metric anew after each of the 2^rows exchanges."""

    def difference(swap):
        return np.mean(
            [
                METRICS[first.metric].quality(first.labels, np.where(swap, b, a))
                - METRICS[first.metric].quality(first.labels, np.where(swap, a, b))
                for first, second in pairs
                for a, b in zip(first.predicted, second.predicted, strict=True)
            ]
        )

    observed = abs(difference(np.zeros(rows, dtype=bool)))
    swaps = itertools.product((False, True), repeat=rows)
    return np.mean([abs(difference(np.array(swap))) >= observed - 1e-9 for swap in swaps])


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
@example(  # the first seed has no difference between the two, the other two have
    [0, 1, 2, 0, 1, 2, 0],
    [
        ([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0]),
        ([0, 1, 2, 0, 1, 2, 1], [1, 2, 0, 1, 1, 2, 0]),
        ([0, 1, 2, 0, 1, 1, 0], [0, 2, 1, 2, 2, 2, 0]),
    ],
)
@given(seven, st.lists(st.tuples(seven, seven), min_size=1, max_size=2))
@settings(max_examples=3, deadline=None)
def test_p_is_the_share_of_all_exchanges(metric, labels, seeds):
    a, b = (np.array(each) for each in zip(*seeds, strict=True))
    pair = Predictions(np.array(labels), a, metric), Predictions(np.array(labels), b, metric)
    tolerance = 1e-12 if METRICS[metric].is_mean else 0.02
    assert paired_permutation_test([[pair]]) == pytest.approx(
        all_exchanges([pair], 7), abs=tolerance
    )


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_pairs_of_a_group_are_exchanged_together(metric):
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    rng = np.random.default_rng(1)
    pairs = [
        (
            Predictions(labels, np.where(rng.random((2, 9)) < 0.8, labels, 0), metric),
            Predictions(labels, rng.integers(3, size=(2, 9)), metric),
        )
        for _ in range(2)
    ]
    assert paired_permutation_test([pairs]) == pytest.approx(all_exchanges(pairs, 9), abs=0.02)


def test_pairs_of_several_metrics_are_each_tested_in_their_own():
    rng = np.random.default_rng(2)
    labels, a, b = rng.integers(3, size=(3, 8))
    pairs = [
        (Predictions(labels, a[None], metric), Predictions(labels, b[None], metric))
        for metric in ("accuracy", "mcc")
    ]
    assert paired_permutation_test([pairs]) == pytest.approx(all_exchanges(pairs, 8), abs=0.02)


def test_where_metrics_disagree_p_follows_the_metric():
    """Forty of a frequent class lost, ten of a rare one won: worse by accuracy, better by F1."""
    labels = np.repeat([0, 1], [960, 40])
    first, second = np.zeros((1, 1000), dtype=int), np.zeros((1, 1000), dtype=int)
    first[0, 960:990] = 1  # 30 of the rare class are right, 10 not, and 40 others are taken for it
    first[0, :40] = 1
    by_f1, by_mcc, by_accuracy = (
        paired_difference(Predictions(labels, first, name), Predictions(labels, second, name))
        for name in ("macro-f1", "mcc", "accuracy")
    )
    assert by_f1.mean > 0.2
    assert by_mcc.mean > 0.3
    assert by_f1.p_value == by_mcc.p_value == 1 / 10_000
    assert by_f1.finding == by_mcc.finding == "better"
    assert by_accuracy.mean < 0
    assert by_accuracy.finding != "better"


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_p_is_the_same_with_either_entrant_first(metric):
    rng = np.random.default_rng(0)
    labels, a, b = (rng.integers(4, size=(3, 50)) for _ in range(3))
    first, second = Predictions(labels[0], a, metric), Predictions(labels[0], b, metric)
    p = paired_permutation_test([[(first, second)]])
    assert p == paired_permutation_test([[(second, first)]])
    assert 1 / 10_000 <= p <= 1
    assert paired_permutation_test([[(first, first)]]) == 1.0


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_alike_entrants_differ_in_few_cases_only(metric):
    """Rare classes, three seeds, nothing between the two: p is below 0.1 in about one of ten."""
    rng, low = np.random.default_rng(5), 0
    for _ in range(60):
        labels = rng.choice(6, 120, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
        right = rng.random(120) < 0.7
        first, second = (
            Predictions(
                labels,
                np.where(
                    right | (rng.random((3, 120)) < 0.1), labels, rng.integers(6, size=(3, 120))
                ),
                metric,
            )
            for _ in range(2)
        )
        low += paired_permutation_test([[(first, second)]]) < 0.1
    assert low <= 12


def test_memory_of_a_large_test_split_is_bounded_and_p_is_the_same_in_parts(monkeypatch):
    rng = np.random.default_rng(3)
    labels = rng.integers(5, size=20_000)
    first, second = (
        Predictions(
            labels, np.where(rng.random((1, 20_000)) < 0.9, labels, rng.integers(5)), "macro-f1"
        )
        for _ in range(2)
    )
    few = [(Predictions(p.labels[:300], p.predicted[:, :300], "mcc")) for p in (first, second)]
    monkeypatch.setattr(permutation_test, "PERMUTATIONS", 999)
    whole = paired_permutation_test([[tuple(few)]])
    monkeypatch.setattr(permutation_test, "_MAX_ELEMENTS", 1_000)
    assert paired_permutation_test([[tuple(few)]]) == whole
    monkeypatch.setattr(permutation_test, "_MAX_ELEMENTS", 100_000)
    tracemalloc.start()
    paired_permutation_test([[(first, second)]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # a matrix of all exchanges would have 999 x 3,600 x 8 bytes = 29 MB


@given(differences)
@settings(max_examples=100, deadline=None)
def test_sign_flip_is_the_share_of_all_sign_patterns(values):
    signs = itertools.product((-1, 1), repeat=len(values))
    sums = [abs(sum(s * v for s, v in zip(sign, values, strict=True))) for sign in signs]
    share = np.mean([total >= abs(sum(values)) for total in sums])
    assert sign_flip_test(np.array(values)) == pytest.approx(share, rel=1e-12)
    assert sign_flip_test(np.array(values)) == sign_flip_test(-np.array(values))


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_sign_flip_of_one_seed_is_mcnemars_exact_test(wins, losses):
    values = np.array([1] * wins + [-1] * losses + [0] * 5)
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_flip_test(values) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_of_many_rows_is_fast_and_near_the_normal_law():
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, 50_000)
    start = time.process_time()
    p = sign_flip_test(values)
    assert time.process_time() - start < 5
    z = abs(values.sum()) / np.sqrt(float(values @ values))
    assert p == pytest.approx(2 * norm.sf(z), abs=0.002)


def test_sign_flip_of_hopeless_odds_is_tiny_but_not_0():
    assert 0 < sign_flip_test(np.ones(50_000, dtype=np.int64)) < 1e-80
    assert sign_flip_test(np.ones(20, dtype=np.int64)) == pytest.approx(2**-19)


def squared_errors(labels, predicted):
    return np.stack([(predicted - labels) ** 2.0, np.ones(predicted.shape)], axis=-1)


def moments(labels, predicted):
    x, y = np.broadcast_arrays(1.0 * labels, predicted)
    return np.stack([x, y, x * y, x**2, y**2, np.ones(x.shape)], axis=-1)


def pearson(sums):
    x, y, xy, xx, yy, rows = np.moveaxis(sums, -1, 0)
    return (rows * xy - x * y) / np.sqrt((rows * xx - x**2) * (rows * yy - y**2))


@pytest.mark.parametrize(
    "metric",
    [
        Metric(squared_errors, row_mean, "", greater_is_better=False, bounds=(-np.inf, 0.0)),
        Metric(moments, pearson, "points of correlation", bounds=(-1.0, 1.0)),
    ],
)
def test_metric_added_as_one_entry_gets_interval_and_test(metric, monkeypatch):
    monkeypatch.setitem(METRICS, "added", metric)
    rng = np.random.default_rng(4)
    labels = rng.integers(10, size=9)
    near, far = (labels + rng.integers(-n, n + 1, size=(2, 9)) for n in (1, 6))
    pair = Predictions(labels, near, "added"), Predictions(labels, far, "added")
    difference = paired_difference(*pair)
    qualities = [np.mean([metric.quality(labels, row) for row in each]) for each in (near, far)]
    assert difference.mean == pytest.approx(qualities[0] - qualities[1])
    assert difference.mean > 0 and difference.low < difference.mean < difference.high
    assert difference.p_value == pytest.approx(all_exchanges([pair], 9), abs=0.02)


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**-20, 0.125])
def test_sign_flip_is_the_same_in_any_unit(unit):
    # Squared errors of labels of a millionth are a few 1e-12.
    values = np.random.default_rng(0).normal(0.1, 0.3, 60).clip(-0.99, 0.99)
    p = sign_flip_test(values)
    assert 0.0001 < p < 0.01
    assert sign_flip_test(values * unit) == p
    whole = np.array([1, 1, -1, 1, 1, 1, 0, 1])
    assert sign_flip_test(whole * unit) == sign_flip_test(whole)
