"""Answers: what an entrant says of each test row, and how two entrants differ there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoprune.evaluation.records import Record
from autoprune.evaluation.statistics import (
    CONTRIBUTIONS,
    macro_f1_permutation_test,
    paired_interval,
    paired_permutation_test,
)
from autoprune.tasks.task import TestSplit


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One entrant's test quality minus another's, same rows and seeds: 95 % interval and p."""

    mean: float
    low: float
    high: float
    p_value: float

    @property
    def finding(self) -> str:
        """`better`, `worse`, or `no difference found`: interval and test must both exclude 0."""
        if self.p_value < 0.05 and self.low > 0:
            return "better"
        if self.p_value < 0.05 and self.high < 0:
            return "worse"
        return "no difference found"


@dataclass(frozen=True, eq=False)
class Predictions:
    """One entrant on the cleaned test rows: `labels` (rows,) and `predicted` (seeds, rows)."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    metric: str

    @classmethod
    def of(cls, records: Sequence[Record], test: TestSplit, metric: str) -> Self:
        """Read the answers off one record per seed, whose predictions are for the raw rows."""
        kept = np.array(test.kept)
        predicted = np.array([record.predictions for record in records])[:, kept]
        return cls(np.array(test.rows.labels)[kept], predicted, metric)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """What each row gives to the metric, their mean: (seeds, rows)."""
        return np.array([CONTRIBUTIONS[self.metric](self.labels, one) for one in self.predicted])

    def minus(self, other: Self) -> PairedDifference:
        """Return this entrant's quality minus the other's; interval and test are on that mean."""
        interval = paired_interval(self.values, other.values)
        low, high = max(-1.0, interval.low), min(1.0, interval.high)
        return PairedDifference(interval.mean, low, high, permutation_p([[(self, other)]]))


def permutation_p(groups: Sequence[Sequence[tuple[Predictions, Predictions]]]) -> float:
    """Return the two-sided p-value of the mean difference over all pairs, in (0, 1].

    A paired permutation test: were the two of each pair alike, what they said of a row could as
    well be exchanged. The pairs of a group are of the same rows and seeds, and exchanged together.
    """
    if any(pair[0].metric != "accuracy" for group in groups for pair in group):
        return macro_f1_permutation_test(
            [[(a.labels, a.predicted, b.predicted) for a, b in g] for g in groups]
        )
    gaps = [sum((a.values - b.values).sum(0) for a, b in group) for group in groups]  # (rows,) each
    weights = [1 / group[0][0].values.size for group in groups]  # of a row in the mean
    scaled = [gap * (weight / min(weights)) for gap, weight in zip(gaps, weights, strict=True)]
    return paired_permutation_test(np.concatenate(scaled))
