"""Duels: two entrants held against each other in each cell, and over all cells together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from autoprune.evidence.answers import Answers, Difference, permutation_p
from autoprune.evidence.cells import Cell
from autoprune.evidence.statistics import holm, paired_interval

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Duel:
    """Two entrants on the test rows `test`, the first is `cell`'s; `same`: one and the same."""

    cell: str
    first: str
    second: str
    test: str
    a: Answers
    b: Answers
    same: bool = False


@dataclass(frozen=True, slots=True)
class Tested:
    """A duel's difference, first minus second, its p corrected (`holm`) for all duels tested."""

    cell: str
    first: str
    second: str
    difference: Difference
    corrected: float

    @property
    def better(self) -> bool:
        """Whether the first is better: the corrected p and the interval both say so."""
        return self.corrected < LEVEL and self.difference.low > 0

    @property
    def worse(self) -> bool:
        """Whether the first is worse: the corrected p and the interval both say so."""
        return self.corrected < LEVEL and self.difference.high < 0

    @property
    def turned(self) -> Self:
        """The same duel seen from the second."""
        gap = self.difference
        seen = Difference(-gap.mean, -gap.high, -gap.low, gap.p_value)
        return replace(self, first=self.second, second=self.first, difference=seen)


def duel(cell: Cell, first: str, second: str) -> Duel | None:
    """Return two entrants of a cell, None where one of them is missing."""
    if first not in cell.answers or second not in cell.answers:
        return None
    a, b = cell.answers[first], cell.answers[second]
    return Duel(cell.name, first, second, cell.test, a, b, cell.same(first, second))


def outcomes(duels: Sequence[Duel]) -> list[Tested]:
    """Test each duel; p is corrected over those that are two different models."""
    gaps = [one.a.minus(one.b) for one in duels]
    apart = [index for index, one in enumerate(duels) if not one.same]
    corrected = dict(zip(apart, holm([gaps[index].p_value for index in apart]), strict=True))
    return [
        Tested(one.cell, one.first, one.second, gap, corrected.get(index, 1.0))
        for index, (one, gap) in enumerate(zip(duels, gaps, strict=True))
    ]


def pooled(duels: Sequence[Duel]) -> Difference:
    """Return the mean difference over the cells, each of equal weight; at least one duel.

    The 95 % interval is for other seeds and other test rows of these cells, not for other cells.
    Duels on the same test rows and seeds are averaged row by row first, for they are not
    independent; those on different rows are, so their half-widths are added as squares. The test
    is on the same mean.
    """
    assert duels, "a mean needs a duel"
    groups: dict[tuple[str, tuple[int, ...]], list[Duel]] = {}
    for one in duels:
        groups.setdefault((one.test, one.a.values.shape), []).append(one)
    mean = below = above = 0.0
    for same_rows in groups.values():
        share = len(same_rows) / len(duels)
        a = np.mean([one.a.values for one in same_rows], axis=0)  # (seeds, rows)
        b = np.mean([one.b.values for one in same_rows], axis=0)
        interval = paired_interval(a, b)
        mean += share * interval.mean
        below += (share * (interval.mean - interval.low)) ** 2
        above += (share * (interval.high - interval.mean)) ** 2
    low, high = mean - math.sqrt(below), mean + math.sqrt(above)
    p_value = permutation_p([[(one.a, one.b) for one in group] for group in groups.values()])
    return Difference(mean, max(-1.0, low), min(1.0, high), p_value)
