"""Duels: two entrants held against each other in each cell, and over all cells together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.entrants import fingerprints_with
from autoprune.evaluation.permutation_test import (
    PairedDifference,
    paired_difference,
    paired_permutation_test,
)
from autoprune.evaluation.predictions import Predictions
from autoprune.evaluation.statistics import holm_correction, paired_interval
from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.metrics import METRICS

_NO_RIVALS = {"found", "full", "scratch", *STRATEGIES}


@dataclass(frozen=True, slots=True)
class CellResult:
    """One model, one task and one number of layers kept.

    `answers` and `rows` are by origin, without those that failed; `reference` is the best fixed
    strategy and `recommended` the layout to take, both by validation; `test` tells which test rows
    the answers are on: cells of equal `test` are on the same ones.
    """

    model: str
    task: str
    keep: int
    answers: Mapping[str, Predictions]
    rows: Mapping[str, ComparisonRow]
    reference: str
    recommended: str
    test: str

    @property
    def name(self) -> str:
        """How a table names it."""
        return f"{self.model}, {self.task}, keep {self.keep}"

    @property
    def strategies(self) -> list[str]:
        """The fixed strategies that were compared."""
        return [origin for origin in STRATEGIES if origin in self.answers]

    @property
    def rivals(self) -> list[str]:
        """The small models that others pre-trained from scratch."""
        return [origin for origin in self.answers if origin not in _NO_RIVALS]

    def same(self, one: str, other: str) -> bool:
        """Tell whether two origins are one and the same trained model."""
        if {one, other} & {"scratch", *self.rivals}:
            return one == other
        return self.rows[one].layout == self.rows[other].layout


def cell_result(studied: FinishedStudy) -> CellResult:
    """Return the cell that a finished study is."""
    comparison, setting = studied.comparison, studied.setting
    prints = fingerprints_with(studied.test, {})
    return CellResult(
        model=setting.model,
        task=setting.task,
        keep=setting.keep,
        answers={
            row.origin: Predictions.of(
                list(entrant_runs(studied, row.origin).values()), studied.test, setting.metric
            )
            for row in comparison.rows
        },
        rows={row.origin: row for row in comparison.rows},
        reference=comparison.reference,
        recommended=comparison.recommended,
        test=" ".join(prints.values()),
    )


SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two entrants on the test rows `test`, the first is `cell`'s; `same`: one and the same."""

    cell: str
    first: str
    second: str
    test: str
    a: Predictions
    b: Predictions
    same: bool = False


@dataclass(frozen=True, slots=True)
class PairedTestResult:
    """A duel's difference, first minus second, its p corrected (`holm_correction`) for all duels tested."""

    cell: str
    first: str
    second: str
    difference: PairedDifference
    corrected: float

    @property
    def better(self) -> bool:
        """Whether the first is better: the corrected p and the interval both say so."""
        return self.corrected < SIGNIFICANCE and self.difference.low > 0

    @property
    def worse(self) -> bool:
        """Whether the first is worse: the corrected p and the interval both say so."""
        return self.corrected < SIGNIFICANCE and self.difference.high < 0

    @property
    def turned(self) -> Self:
        """The same duel seen from the second."""
        gap = self.difference
        seen = PairedDifference(-gap.mean, -gap.high, -gap.low, gap.p_value)
        return replace(self, first=self.second, second=self.first, difference=seen)


def paired_test(cell: CellResult, first: str, second: str) -> PairedTest | None:
    """Return two entrants of a cell, None where one of them is missing."""
    if first not in cell.answers or second not in cell.answers:
        return None
    a, b = cell.answers[first], cell.answers[second]
    return PairedTest(cell.name, first, second, cell.test, a, b, cell.same(first, second))


def corrected_results(duels: Sequence[PairedTest]) -> list[PairedTestResult]:
    """Test each duel; p is corrected over those that are two different models."""
    gaps = [paired_difference(one.a, one.b) for one in duels]
    apart = [index for index, one in enumerate(duels) if not one.same]
    corrected = dict(
        zip(apart, holm_correction([gaps[index].p_value for index in apart]), strict=True)
    )
    return [
        PairedTestResult(one.cell, one.first, one.second, gap, corrected.get(index, 1.0))
        for index, (one, gap) in enumerate(zip(duels, gaps, strict=True))
    ]


def pooled_p_value(duels: Sequence[PairedTest]) -> PairedDifference:
    """Return the mean difference over the cells, each of equal weight; at least one duel.

    The 95 % interval is for other seeds and other test rows of these cells, not for other cells.
    Duels on the same test rows and seeds are averaged row by row first, for they are not
    independent; those on different rows are, so their half-widths are added as squares. The test
    is on the same mean.
    """
    assert duels, "a mean needs a duel"
    groups: dict[tuple[str, tuple[int, ...]], list[PairedTest]] = {}
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
    p_value = paired_permutation_test(
        [[(one.a, one.b) for one in group] for group in groups.values()]
    )
    span = max(METRICS[one.a.metric].span for one in duels)
    return PairedDifference(mean, max(-span, low), min(span, high), p_value)
