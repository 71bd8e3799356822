"""The statistics give known answers, and the interval covers what it says."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_1samp
from sklearn.metrics import f1_score

from autoprune.evaluation.statistics import (
    CONTRIBUTIONS,
    macro_f1,
    mean_interval,
    paired_interval,
    paired_permutation_test,
    seed_std,
)
from autoprune.training.metrics import METRICS

differences = st.lists(st.integers(-3, 3), min_size=1, max_size=9)


@given(differences)
@settings(max_examples=100, deadline=None)
def test_sign_flip_is_the_share_of_all_sign_patterns(values):
    signs = itertools.product((-1, 1), repeat=len(values))
    sums = [abs(sum(s * v for s, v in zip(sign, values, strict=True))) for sign in signs]
    share = np.mean([total >= abs(sum(values)) for total in sums])
    assert paired_permutation_test(np.array(values)) == pytest.approx(share, rel=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_one_seed_is_mcnemars_exact_test(wins, losses):
    values = np.array([1] * wins + [-1] * losses + [0] * 5)
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert paired_permutation_test(values) == pytest.approx(expected, rel=1e-9)


@given(differences)
@settings(max_examples=30, deadline=None)
def test_sign_flip_does_not_care_which_entrant_comes_first(values):
    assert paired_permutation_test(np.array(values)) == paired_permutation_test(-np.array(values))


def test_sign_flip_of_many_rows_is_fast_and_near_the_normal_law():
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, 50_000)
    start = time.process_time()
    found = paired_permutation_test(values)
    assert time.process_time() - start < 5
    z = abs(values.sum()) / np.sqrt(float(values @ values))
    assert found == pytest.approx(2 * norm.sf(z), abs=0.002)


def test_sign_flip_of_hopeless_odds_is_tiny_but_not_0():
    assert 0 < paired_permutation_test(np.ones(50_000, dtype=np.int64)) < 1e-80
    assert paired_permutation_test(np.ones(20, dtype=np.int64)) == pytest.approx(2**-19)


def test_interval_of_one_seed_is_students():
    values = np.random.default_rng(1).normal(0.3, 1, (1, 40))
    expected = ttest_1samp(values[0], 0).confidence_interval()
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_interval_of_seeds_that_alone_differ_is_students_over_seeds():
    by_seed = np.array([0.1, 0.4, 0.3])
    expected = ttest_1samp(by_seed, 0).confidence_interval()
    interval = mean_interval(np.repeat(by_seed[:, None], 50, axis=1))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_repeating_a_run_makes_no_interval_narrower():
    values = np.random.default_rng(2).normal(0, 1, (1, 40))
    one, three = mean_interval(values), mean_interval(np.repeat(values, 3, axis=0))
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(("seeds", "effect"), [(2, 2.0), (3, 0.0), (3, 1.0), (3, 4.0), (5, 1.0)])
def test_interval_covers_in_at_least_95_of_100_studies(seeds, effect):
    rng, rows, studies, truth = np.random.default_rng(3), 40, 1500, 0.02
    row, rest = 0.5, 0.3
    by_seed = effect * np.sqrt(seeds * row**2 / rows + rest**2 / rows)
    values = (
        truth
        + rng.normal(0, by_seed, (studies, seeds, 1))
        + rng.normal(0, row, (studies, 1, rows))
        + rng.normal(0, rest, (studies, seeds, rows))
    )
    intervals = [mean_interval(study) for study in values]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert covered > 0.94


def test_interval_covers_the_difference_of_two_trained_models():
    """Right answers drawn from abilities of seeds and difficulties of rows, three seeds."""
    rng, rows, studies = np.random.default_rng(4), 200, 800
    hard = rng.normal(0, 1.5, (studies, 1, 1, rows))
    able = rng.normal(0.5, 0.25, (studies, 2, 3, 1))
    right = rng.random((studies, 2, 3, rows)) < 1 / (1 + np.exp(-(able + hard)))
    intervals = [paired_interval(a, b) for a, b in right]
    covered = np.mean([i.low <= 0 <= i.high for i in intervals])
    rows_only = np.mean(
        [
            abs(i.mean) <= 1.96 * np.std((a * 1.0 - b).mean(0)) / rows**0.5
            for i, (a, b) in zip(intervals, right, strict=True)
        ]
    )
    assert covered > 0.94
    assert rows_only < 0.9  # what the noise of training costs who leaves it out


def test_paired_interval_is_of_the_first_minus_the_second():
    a, b = np.ones((2, 6)), np.zeros((2, 6))
    interval = paired_interval(a, b)
    assert (interval.mean, interval.low, interval.high) == (1, 1, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_contributions_average_to_the_metric(metric):
    rng = np.random.default_rng(5)
    labels, said = rng.integers(0, 5, 80), rng.integers(0, 4, 80)
    assert CONTRIBUTIONS[metric](labels, said).mean() == pytest.approx(
        METRICS[metric](labels, said)
    )


def test_contributions_of_macro_f1_give_its_bootstrap_spread():
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 600)
    said = np.where(rng.random(600) < 0.6, labels, rng.integers(0, 4, 600))
    spread_found = macro_f1(labels, said).std() / 600**0.5
    draws = [rng.integers(0, 600, 600) for _ in range(400)]
    bootstrapped = np.std([f1_score(labels[d], said[d], average="macro") for d in draws])
    assert spread_found == pytest.approx(bootstrapped, rel=0.12)


def test_spread():
    assert seed_std([0.5]) is None
    assert seed_std([0.4, 0.6]) == pytest.approx(0.02**0.5)
