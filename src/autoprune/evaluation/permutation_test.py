"""Paired permutation test: whether two entrants differ on the same test rows, in any metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from autoprune.evaluation.records import Record
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import SIGNIFICANCE, paired_interval, row_contributions
from autoprune.tasks.task import TestSplit, label_array
from autoprune.training.metrics import METRICS, Labels, Metric, Sums


@dataclass(frozen=True, eq=False)
class Predictions:
    """One entrant on the cleaned test rows: `labels` (rows,) and `predicted` (seeds, rows).

    Both may have one more axis: see `training.metrics.Labels`.
    """

    labels: Labels
    predicted: Labels
    metric: str

    @classmethod
    def of(cls, records: Sequence[Record], test: TestSplit, metric: str) -> Self:
        """Take the predictions of one record per seed; records hold those of the raw rows."""
        kept = np.array(test.kept)
        predicted = np.stack([label_array(record.predictions) for record in records])[:, kept]
        return cls(label_array(test.rows.labels)[kept], predicted, metric)

    @classmethod
    def of_simple_model(cls, model: SimpleModel, test: TestSplit, metric: str, seeds: int) -> Self:
        """Take a simple model's predictions, which are the same with each of `seeds` seeds."""
        kept = np.array(test.kept)
        predicted = label_array(model.predictions)[kept]
        repeated = np.repeat(predicted[None], seeds, axis=0)
        return cls(label_array(test.rows.labels)[kept], repeated, metric)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """What each row contributes to the quality, which is their mean: (seeds, rows)."""
        metric = METRICS[self.metric]
        return np.array([row_contributions(metric, self.labels, row) for row in self.predicted])


MIN_P_VALUE = 1e-90  # p-values below are given as this; terms of the sum far below it are dropped

PERMUTATIONS = 9_999  # random ones, where they cannot all be counted

TIE_TOLERANCE = 1e-9  # differences this near to each other are taken as equal

_MAX_ELEMENTS = 2_000_000  # of a matrix


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One entrant's test quality minus another's, same rows and seeds: 95 % interval and p.

    `by_seed` are the differences of the single seeds, `row_error` is the standard error that more
    seeds would leave. `metric` is that of the quality.
    """

    mean: float
    low: float
    high: float
    p_value: float
    by_seed: tuple[float, ...] = ()
    row_error: float = 0.0
    metric: str = "accuracy"

    @property
    def finding(self) -> str:
        """`better`, `worse`, or `no difference found`: interval and test must both exclude 0."""
        if self.p_value < SIGNIFICANCE and self.low > 0:
            return "better"
        if self.p_value < SIGNIFICANCE and self.high < 0:
            return "worse"
        return "no difference found"

    @property
    def reversed(self) -> Self:
        """The second entrant's quality minus the first's."""
        by_seed = tuple(-gap for gap in self.by_seed)
        return replace(self, mean=-self.mean, low=-self.high, high=-self.low, by_seed=by_seed)


def paired_difference(
    first: Predictions, second: Predictions, level: float = SIGNIFICANCE
) -> PairedDifference:
    """Return the first entrant's quality minus the second's, with its interval and test.

    Where one has more seeds, those that both have are compared. With another `level`, that of one
    of several looks at the data, the interval is wider, and p is multiplied accordingly: both again
    mean what they say, an interval of 95 % and a p to be compared with 0.05.
    """
    first, second = common_seeds(first, second)
    interval = paired_interval(first.values, second.values, level)
    span = METRICS[first.metric].span
    p_value = paired_permutation_test([[(first, second)]])
    return PairedDifference(
        mean=interval.mean,
        low=max(-span, interval.low),
        high=min(span, interval.high),
        p_value=min(1.0, p_value * (SIGNIFICANCE / level)),
        by_seed=tuple(map(float, (first.values - second.values).mean(axis=1))),
        row_error=interval.row_error,
        metric=first.metric,
    )


def common_seeds(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Return both with the seeds that both have, which are the first ones."""
    seeds = min(len(first.predicted), len(second.predicted))
    a, b = (
        each if len(each.predicted) == seeds else replace(each, predicted=each.predicted[:seeds])
        for each in (first, second)
    )
    return a, b


def paired_permutation_test(groups: Sequence[Sequence[tuple[Predictions, Predictions]]]) -> float:
    """Return the two-sided p-value of the mean difference over all pairs, in (0, 1].

    The pairs of a group are on the same rows. If the two entrants of each pair were
    alike, their predictions for a row could as well be exchanged: in all pairs of the group and on
    all seeds together. p is the share of all such exchanges of rows whose difference, with the
    metric computed anew, is at least as far from 0 as the observed one. The trained models are
    taken as given: the noise of training is not in p.

    Where every metric is a mean over rows, see `sign_flip_test`. Else 9,999 random exchanges,
    always the same, are compared with the observed difference, which is counted among them: p is
    at least 1 / 10,000 and never too small (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585).
    """
    if all(METRICS[first.metric].is_mean for pairs in groups for first, _ in pairs):
        # Each pair counts as if it had so many seeds, so that wrong answers are whole numbers.
        seeds = math.lcm(*(len(a.values) for pairs in groups for a, _ in pairs))
        sums = [
            sum((a.values - b.values).sum(0) * (seeds // len(a.values)) for a, b in pairs)
            for pairs in groups
        ]
        weights = [1 / len(each) for each in sums]  # of a row in the mean
        scaled = [each * (w / min(weights)) for each, w in zip(sums, weights, strict=True)]
        return sign_flip_test(np.concatenate(scaled))
    rng = np.random.default_rng(0)
    observed, permuted = 0.0, np.zeros(PERMUTATIONS)
    for pairs in groups:
        differ = np.any([_differ(a.predicted, b.predicted) for a, b in pairs], axis=0)
        rows = int(differ.sum())  # exchanging the others changes nothing
        models = [model for first, second in pairs for model in _pair_models(first, second, differ)]
        observed += sum(float(model.differences(np.zeros((1, rows)))[0]) for model in models)
        step = max(1, _MAX_ELEMENTS // max(rows, *(model.first.size for model in models)))
        for start in range(0, PERMUTATIONS, step):
            part = permuted[start : start + step]
            exchanged = rng.integers(2, size=(len(part), rows)).astype(np.float32)
            for model in models:
                part += model.differences(exchanged)
    reached = np.abs(permuted) >= abs(observed) - TIE_TOLERANCE
    return (1 + int(reached.sum())) / (1 + PERMUTATIONS)


def _differ(first: Labels, second: Labels) -> NDArray[np.bool_]:
    """Return for which rows any seed predicts another label: (rows,)."""
    differ: NDArray[np.bool_] = (first != second).any(axis=0)
    return differ if differ.ndim == 1 else np.asarray(differ.any(axis=-1))


@dataclass(frozen=True, slots=True)
class _PairedModels:
    """The sums (k,) of two models' statistics, and what an exchange of each row changes.

    `moves` (rows, columns) are added to those `columns` of the first and taken from the second;
    the difference counts `weight`.
    """

    metric: Metric
    weight: float
    first: Sums
    second: Sums
    columns: NDArray[np.bool_]
    moves: NDArray[np.floating]

    def differences(self, exchanged: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return first minus second after exchanges (n, rows), 1 where a row is exchanged: (n,)."""
        change = exchanged @ self.moves
        first, second = (
            np.repeat(sums[None], len(change), 0) for sums in (self.first, self.second)
        )
        first[:, self.columns] += change
        second[:, self.columns] -= change
        gap = self.metric.value(first) - self.metric.value(second)
        return np.asarray(gap * self.weight, dtype=np.float64)


def _pair_models(
    first: Predictions, second: Predictions, differ: NDArray[np.bool_]
) -> list[_PairedModels]:
    """Pair two entrants' models of each seed; `differ` (rows,) marks the rows to exchange."""
    metric, seeds = METRICS[first.metric], len(first.predicted)
    paired = []
    for a, b in zip(first.predicted, second.predicted, strict=True):
        statistics = metric.statistics(first.labels, np.stack([a, b]))  # (2, rows, k)
        sums = statistics.sum(axis=1, dtype=np.float64)
        # Counts are exact in float32, which is faster to multiply.
        kind = np.float32 if statistics.dtype == np.bool_ else np.float64
        of_a, of_b = statistics[:, differ].astype(kind)
        moves = of_b - of_a
        columns = moves.any(axis=0)
        paired.append(
            _PairedModels(metric, 1 / seeds, sums[0], sums[1], columns, moves[:, columns])
        )
    return paired


def sign_flip_test(differences: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Return the p-value of `paired_permutation_test` for a mean over rows.

    `differences` (rows,) are what each row gives one entrant more than the other, summed over
    seeds: to exchange a row's predictions is to change the sign of its difference. p is the share
    of all 2^rows sign patterns whose sum is at least as far from 0.

    Whole numbers, as of correct predictions, are counted exactly; for one seed this is the exact
    McNemar test. Others are compared with 9,999 random patterns, always the same, and themselves.
    """
    largest = np.abs(differences).max(initial=0.0)
    if 0 < largest < 1:  # the test is the same in any unit, what counts as equal is not
        differences = differences / largest
    whole = np.round(differences)
    if np.allclose(differences, whole, rtol=0.0, atol=TIE_TOLERANCE):
        return _count_sign_patterns(whole.astype(np.int64))
    sizes, counts = np.unique(np.abs(differences).round(12), return_counts=True)
    rng, sums = np.random.default_rng(0), np.zeros(PERMUTATIONS)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        sums += size * (2 * rng.binomial(count, 0.5, PERMUTATIONS) - count)
    observed = abs(float(differences.sum())) * (1 - TIE_TOLERANCE) - TIE_TOLERANCE
    return (1 + int((np.abs(sums) >= observed).sum())) / (1 + PERMUTATIONS)


def _count_sign_patterns(differences: NDArray[np.int64]) -> float:
    """Return the share of all sign patterns of whole numbers that reach the observed sum."""
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    total = int(sizes @ counts)
    observed = abs(int(differences.sum()))
    if observed == 0:
        return 1.0
    # The sum is 2 m - total, where m adds up the rows with a plus sign: for rows of one size k,
    # k times a binomial count. Convolving those over the sizes gives the distribution of m.
    first, mass = 0, np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        shares = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        kept = np.flatnonzero(shares > MIN_P_VALUE / 1e10)
        spread = np.zeros((kept[-1] - kept[0]) * size + 1)
        spread[::size] = shares[kept[0] : kept[-1] + 1]
        first += int(kept[0]) * size
        mass = np.convolve(mass, spread)
    tail = mass[max(0, (total + observed) // 2 - first) :].sum()
    return float(np.clip(2 * tail, MIN_P_VALUE, 1.0))
