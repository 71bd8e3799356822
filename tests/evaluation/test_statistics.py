"""The statistics give known answers, and the interval covers what it says."""

import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr, ttest_1samp

from autoprune.evaluation.statistics import (
    MIN_ROUNDS,
    MedianInterval,
    holm_correction,
    layout_rank_correlation,
    mean_interval,
    median_interval,
    paired_interval,
    rank_correlation,
    row_contributions,
    seed_std,
)
from autoprune.layouts.layout import all_layouts
from autoprune.training.metrics import METRICS
from autoprune.training.problem_types import SINGLE_LABEL


def test_mean_interval_of_one_seed_is_students():
    values = np.random.default_rng(1).normal(0.3, 1, (1, 40))
    expected = ttest_1samp(values[0], 0).confidence_interval()
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_mean_interval_of_seeds_that_alone_differ_is_students_over_seeds():
    by_seed = np.array([0.1, 0.4, 0.3])
    expected = ttest_1samp(by_seed, 0).confidence_interval()
    interval = mean_interval(np.repeat(by_seed[:, None], 50, axis=1))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_mean_interval_is_no_narrower_when_a_run_is_repeated():
    values = np.random.default_rng(2).normal(0, 1, (1, 40))
    single, repeated = mean_interval(values), mean_interval(np.repeat(values, 3, axis=0))
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high))


@pytest.mark.parametrize(("seeds", "effect"), [(3, 0.0), (3, 1.0), (3, 4.0), (5, 1.0)])
def test_mean_interval_covers_in_at_least_95_of_100_studies(seeds, effect):
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


def test_paired_interval_covers_the_difference_of_two_trained_models():
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


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
def test_row_contributions_average_to_the_quality(name):
    rng = np.random.default_rng(5)
    labels, predicted = rng.integers(0, 5, 80), rng.integers(0, 4, 80)
    contributions = row_contributions(METRICS[name], labels, predicted)
    assert contributions.mean() == pytest.approx(METRICS[name].quality(labels, predicted))


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
def test_row_contributions_give_the_bootstrap_spread_of_the_metric(name):
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 600)
    predicted = np.where(rng.random(600) < 0.6, labels, rng.integers(0, 4, 600))
    std = row_contributions(METRICS[name], labels, predicted).std() / 600**0.5
    draws = [rng.integers(0, 600, 600) for _ in range(400)]
    bootstrapped = np.std([METRICS[name].quality(labels[d], predicted[d]) for d in draws])
    assert std == pytest.approx(bootstrapped, rel=0.12)


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
def test_row_contribution_is_what_it_changes_when_it_counts_a_little_more(name):
    rng, metric, weight = np.random.default_rng(7), METRICS[name], 1e-6
    labels, predicted = rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    contributions = row_contributions(metric, labels, predicted)
    statistics = metric.statistics(labels, predicted)
    sums = statistics.sum(0, dtype=float)
    changes = [metric.value(sums + weight * row) - metric.value(sums) for row in statistics]
    influence = contributions - metric.quality(labels, predicted)
    assert influence == pytest.approx(30 * np.array(changes) / weight, abs=1e-4)


def test_seed_std_is_the_sample_standard_deviation():
    assert seed_std([0.5]) is None
    assert seed_std([0.4, 0.6]) == pytest.approx(0.02**0.5)


def test_holm_correction_by_known_answer():
    # Holm 1979; R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction([]) == []


@given(st.lists(st.floats(1e-90, 1.0), min_size=1, max_size=9))
def test_holm_correction_keeps_the_order_and_is_between_p_and_bonferroni(p_values):
    corrected = holm_correction(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)


def test_rank_correlation_compares_ranks_not_values():
    found = rank_correlation([1, 2, 3, 4, 50, 60], [0.1, 0.2, 0.3, 0.4, 0.41, 0.9])
    assert (found.correlation, found.low, found.high) == pytest.approx((1, 1, 1))
    assert str(found) == "+1.00 (+1.00 to +1.00)"
    turned = rank_correlation([6, 5, 4, 3, 2, 1], [0.1, 0.2, 0.3, 0.4, 0.41, 0.9])
    assert str(turned) == "−1.00 (−1.00 to −1.00)"


def test_rank_correlation_is_spearmans_also_with_ties():
    rng = np.random.default_rng(0)
    proxies, qualities = rng.integers(0, 5, 40), rng.normal(size=40)
    found = rank_correlation(proxies, qualities)
    assert found.correlation == pytest.approx(spearmanr(proxies, qualities).statistic)


def test_rank_correlation_interval_covers_the_truth():
    """Over 200 draws of 30 pairs with a correlation of about 0.48 between ranks."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        proxies = rng.normal(size=30)
        found = rank_correlation(proxies, 0.5 * proxies + np.sqrt(0.75) * rng.normal(size=30))
        covered += found.low <= 0.483 <= found.high
    assert 0.88 <= covered / 200 <= 0.98


@pytest.mark.parametrize(
    ("proxies", "qualities"),
    [([1, 2, 3, 4], [1, 2, 3, 4]), ([1] * 6, range(6)), (range(6), [2] * 6)],
)
def test_rank_correlation_of_few_or_constant_scores_is_none(proxies, qualities):
    assert rank_correlation(list(proxies), list(qualities)) is None


def test_layout_rank_correlation_counts_the_runs_of_one_layout_once():
    """Noise hardly ever looks sure, however often its leaders are run again."""
    rng, layouts, sure = np.random.default_rng(2), all_layouts(6, 2), 0
    assert layout_rank_correlation(dict.fromkeys(layouts, 0.0), [(layouts[0], 0.1)] * 9) is None
    for _ in range(100):
        proxies = dict(zip(layouts, rng.normal(size=len(layouts)), strict=True))
        truth = rng.normal(size=len(layouts))
        again = [*range(len(layouts)), *np.repeat(np.argsort(-truth)[:3], 4)]
        found = layout_rank_correlation(
            proxies, [(layouts[i], truth[i] + 0.1 * rng.normal()) for i in again]
        )
        sure += found.low > 0 or found.high < 0
    assert sure <= 12


def test_mean_interval_of_two_seeds_is_of_the_rows_alone():
    values = np.random.default_rng(8).normal(0, 1, (2, 40)) + np.array([[-5.0], [5.0]])
    interval = mean_interval(values)
    rows = values.mean(0)
    expected = ttest_1samp(rows, 0).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


# Table of the order statistics that hold the median with 95 %: n, rank of the lower end (from 1).
@pytest.mark.parametrize(
    ("number", "rank"),
    [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)],
)
def test_median_interval_is_that_of_the_sign_test(number, rank):
    values = list(range(1, number + 1))
    random.Random(0).shuffle(values)
    found = median_interval(values)
    assert found == MedianInterval(statistics.median(values), rank, number + 1 - rank)


def test_median_interval_covers_the_true_median():
    draw = random.Random(1)
    held = 0
    for _ in range(2000):
        found = median_interval([draw.expovariate(1.0) for _ in range(15)])
        held += found.low <= 0.693147 <= found.high
    assert 0.95 <= held / 2000 <= 0.98  # exactly 0.9648


def test_median_interval_needs_enough_values():
    with pytest.raises(AssertionError):
        median_interval([1.0] * (MIN_ROUNDS - 1))
