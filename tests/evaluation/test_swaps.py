"""The test of macro-F1 is of macro-F1: known answers, level, and direction."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from autoprune.evaluation.predictions import Predictions
from autoprune.evaluation.statistics import macro_f1_permutation_test


def macro(labels, predicted):
    return np.mean([f1_score(labels, one, average="macro") for one in predicted])


said = st.lists(st.integers(0, 2), min_size=7, max_size=7)


@example(  # the first seed sees nothing between the two, the other two do
    [0, 1, 2, 0, 1, 2, 0],
    [
        ([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0]),
        ([0, 1, 2, 0, 1, 2, 1], [1, 2, 0, 1, 1, 2, 0]),
        ([0, 1, 2, 0, 1, 1, 0], [0, 2, 1, 2, 2, 2, 0]),
    ],
)
@given(said, st.lists(st.tuples(said, said), min_size=1, max_size=2))
@settings(max_examples=3, deadline=None)
def test_it_is_the_share_of_all_exchanges(labels, seeds):
    """Of all 128, counted with scikit-learn's macro-F1."""
    labels = np.array(labels)
    a, b = (np.array(one) for one in zip(*seeds, strict=True))
    observed = abs(macro(labels, a) - macro(labels, b))
    reached = [
        abs(macro(labels, np.where(swap, b, a)) - macro(labels, np.where(swap, a, b)))
        >= observed - 1e-9
        for swap in itertools.product((False, True), repeat=7)
    ]
    assert macro_f1_permutation_test([[(labels, a, b)]]) == pytest.approx(
        np.mean(reached), abs=0.02
    )


def test_where_the_metrics_disagree_p_is_of_macro_f1():
    """Forty of a frequent class lost, ten of a rare one won: worse by accuracy, better by F1."""
    labels = np.repeat([0, 1], [960, 40])
    first, second = np.zeros((1, 1000), dtype=int), np.zeros((1, 1000), dtype=int)
    first[0, 960:990] = 1  # 30 of the rare class are right, 10 not, and 40 others are taken for it
    first[0, :40] = 1
    by_f1, by_accuracy = (
        Predictions(labels, first, metric).minus(Predictions(labels, second, metric))
        for metric in ("macro-f1", "accuracy")
    )
    assert by_f1.mean > 0.2
    assert by_f1.p_value == 1 / 10_000
    assert by_f1.finding == "better"
    assert by_accuracy.mean < 0
    assert by_accuracy.finding != "better"


def test_either_entrant_may_come_first():
    rng = np.random.default_rng(0)
    labels, a, b = (rng.integers(4, size=(3, 50)) for _ in range(3))
    p = macro_f1_permutation_test([[(labels[0], a, b)]])
    assert p == macro_f1_permutation_test([[(labels[0], b, a)]])
    assert 1 / 10_000 <= p <= 1
    assert macro_f1_permutation_test([[(labels[0], a, a)]]) == 1.0


def test_two_alike_are_told_apart_in_few_cases_only():
    """Rare classes, three seeds, nothing between the two: p is below 0.1 in about one of ten."""
    rng, low = np.random.default_rng(5), 0
    for _ in range(60):
        labels = rng.choice(6, 120, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
        right = rng.random(120) < 0.7
        a, b = (
            np.where(right | (rng.random((3, 120)) < 0.1), labels, rng.integers(6, size=(3, 120)))
            for _ in range(2)
        )
        low += macro_f1_permutation_test([[(labels, a, b)]]) < 0.1
    assert low <= 12
