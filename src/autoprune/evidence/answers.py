"""Answers: which test rows an entrant has right, and how two entrants differ on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.contributions import CONTRIBUTIONS
from autoprune.evidence.record import Record
from autoprune.evidence.statistics import paired_interval, sign_flip
from autoprune.tasks.task import TestSplit


@dataclass(frozen=True, slots=True)
class Difference:
    """One entrant's test quality minus another's, same rows and seeds: 95 % interval, exact p."""

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


@dataclass(frozen=True, slots=True)
class Answers:
    """One entrant on the cleaned test rows: `values` average to the metric; both (seeds, rows)."""

    values: NDArray[np.float64]
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, records: Sequence[Record], test: TestSplit, metric: str) -> Self:
        """Read the answers off one record per seed, whose predictions are for the raw rows."""
        kept = np.array(test.kept)
        labels = np.array(test.rows.labels)[kept]
        predicted = np.array([record.predictions for record in records])[:, kept]  # (seeds, rows)
        values = np.array([CONTRIBUTIONS[metric](labels, one) for one in predicted])
        return cls(values, predicted == labels)

    def minus(self, other: Self) -> Difference:
        """Return this entrant's quality minus the other's; the test is on right and wrong rows."""
        interval = paired_interval(self.values, other.values)
        right = self.correct.sum(0, dtype=np.int64) - other.correct.sum(0, dtype=np.int64)
        low, high = max(-1.0, interval.low), min(1.0, interval.high)
        return Difference(interval.mean, low, high, sign_flip(right))
