"""The statistics give known answers, and the interval covers what it says."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from autoprune.evaluation.statistics import (
    mean_interval,
    paired_interval,
    row_contributions,
    seed_std,
)
from autoprune.training.metrics import METRICS


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


@pytest.mark.parametrize("name", METRICS)
def test_contributions_average_to_the_quality(name):
    rng = np.random.default_rng(5)
    labels, predicted = rng.integers(0, 5, 80), rng.integers(0, 4, 80)
    contributions = row_contributions(METRICS[name], labels, predicted)
    assert contributions.mean() == pytest.approx(METRICS[name].quality(labels, predicted))


@pytest.mark.parametrize("name", METRICS)
def test_contributions_give_the_bootstrap_spread_of_the_metric(name):
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 600)
    predicted = np.where(rng.random(600) < 0.6, labels, rng.integers(0, 4, 600))
    std = row_contributions(METRICS[name], labels, predicted).std() / 600**0.5
    draws = [rng.integers(0, 600, 600) for _ in range(400)]
    bootstrapped = np.std([METRICS[name].quality(labels[d], predicted[d]) for d in draws])
    assert std == pytest.approx(bootstrapped, rel=0.12)


@pytest.mark.parametrize("name", METRICS)
def test_contribution_of_a_row_is_what_it_changes_when_it_counts_a_little_more(name):
    rng, metric, weight = np.random.default_rng(7), METRICS[name], 1e-6
    labels, predicted = rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    contributions = row_contributions(metric, labels, predicted)
    statistics = metric.statistics(labels, predicted)
    sums = statistics.sum(0, dtype=float)
    changes = [metric.value(sums + weight * row) - metric.value(sums) for row in statistics]
    influence = contributions - metric.quality(labels, predicted)
    assert influence == pytest.approx(30 * np.array(changes) / weight, abs=1e-4)


def test_spread():
    assert seed_std([0.5]) is None
    assert seed_std([0.4, 0.6]) == pytest.approx(0.02**0.5)
