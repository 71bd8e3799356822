"""Paired tests: two entrants compared in each cell of a grid, and over all cells together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.entrants import fingerprints_with
from autoprune.evaluation.permutation_test import (
    PairedDifference,
    Predictions,
    common_seeds,
    paired_difference,
    paired_permutation_test,
)
from autoprune.evaluation.records import ORIGINS
from autoprune.evaluation.statistics import SIGNIFICANCE, holm_correction, paired_interval
from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.metrics import METRICS, Metric


@dataclass(frozen=True, slots=True)
class CellResult:
    """One model, one task and one number of layers to keep.

    `predictions` and `rows` are by origin, without the entrants that failed. `reference` is the
    best fixed strategy and `recommended` the layout to use, both chosen by validation.
    `test_rows` identifies the test rows: cells of an equal value have the same ones.
    """

    model: str
    task: str
    keep: int
    predictions: Mapping[str, Predictions]
    rows: Mapping[str, ComparisonRow]
    reference: str
    recommended: str
    test_rows: str

    @property
    def name(self) -> str:
        """The cell's name in a table."""
        return f"{self.model}, {self.task}, keep {self.keep}"

    @property
    def metric(self) -> Metric:
        """The metric of its task."""
        return METRICS[next(iter(self.predictions.values())).metric]

    @property
    def strategies(self) -> list[str]:
        """The fixed strategies that were compared."""
        return [origin for origin in STRATEGIES if origin in self.predictions]

    def test_lead(self, origin: str) -> float:
        """Return an entrant's test quality minus the reference's, on the seeds of both.

        An entrant that was stopped early has the first seeds alone: its mean is not to be ranked
        with those of all seeds.
        """
        first, second = common_seeds(self.predictions[origin], self.predictions[self.reference])
        return float(first.values.mean() - second.values.mean())

    def best_on_test(self, origins: Sequence[str]) -> str:
        """Return which of the entrants leads on test."""
        return max(origins, key=self.test_lead)

    @property
    def rivals(self) -> list[str]:
        """The small models that others pre-trained from scratch."""
        return [origin for origin in self.predictions if origin not in ORIGINS]

    def is_same_model(self, first: str, second: str) -> bool:
        """Tell whether two origins are one and the same trained model."""
        if {first, second} & {"scratch", *self.rivals}:
            return first == second
        return self.rows[first].layout == self.rows[second].layout


def cell_result(study: FinishedStudy) -> CellResult:
    """Return the cell that a finished study is."""
    comparison, metadata = study.comparison, study.setting
    return CellResult(
        model=metadata.model,
        task=metadata.task,
        keep=metadata.keep,
        predictions={
            row.origin: Predictions.of(
                list(entrant_runs(study, row.origin).values()), study.test, metadata.metric
            )
            for row in comparison.rows
        },
        rows={row.origin: row for row in comparison.rows},
        reference=comparison.reference,
        recommended=comparison.best,
        test_rows=" ".join(fingerprints_with(study.test, {}).values()),
    )


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two entrants on the same test rows and seeds; `first` is one of `cell`.

    `identical`: both are one and the same model.
    """

    cell: str
    first: str
    second: str
    test_rows: str
    first_predictions: Predictions
    second_predictions: Predictions
    identical: bool = False


@dataclass(frozen=True, slots=True)
class PairedTestResult:
    """The difference of a paired test, first minus second; `corrected` is its p after Holm."""

    cell: str
    first: str
    second: str
    difference: PairedDifference
    corrected: float

    @property
    def better(self) -> bool:
        """Whether the first is better: the corrected p and the interval both exclude 0."""
        return self.corrected < SIGNIFICANCE and self.difference.low > 0

    @property
    def worse(self) -> bool:
        """Whether the first is worse: the corrected p and the interval both exclude 0."""
        return self.corrected < SIGNIFICANCE and self.difference.high < 0

    @property
    def reversed(self) -> Self:
        """The same test as second minus first."""
        difference = self.difference.reversed
        return replace(self, first=self.second, second=self.first, difference=difference)


def paired_test(cell: CellResult, first: str, second: str) -> PairedTest:
    """Pair two entrants of a cell on the seeds of both; raises KeyError where one is missing."""
    return PairedTest(
        cell.name,
        first,
        second,
        cell.test_rows,
        *common_seeds(cell.predictions[first], cell.predictions[second]),
        cell.is_same_model(first, second),
    )


def run_paired_tests(tests: Sequence[PairedTest]) -> list[PairedTestResult]:
    """Run each test; p is corrected (Holm) over those of two different models."""
    differences = [
        paired_difference(test.first_predictions, test.second_predictions) for test in tests
    ]
    counted = [index for index, test in enumerate(tests) if not test.identical]
    p_values = holm_correction([differences[index].p_value for index in counted])
    corrected = dict(zip(counted, p_values, strict=True))
    return [
        PairedTestResult(test.cell, test.first, test.second, difference, corrected.get(index, 1.0))
        for index, (test, difference) in enumerate(zip(tests, differences, strict=True))
    ]


def mean_difference(tests: Sequence[PairedTest]) -> PairedDifference:
    """Return the mean difference over the cells, each of equal weight; needs one test.

    The 95 % interval is for other seeds and other test rows of these cells, not for other cells.
    Tests on the same test rows and number of seeds are averaged row by row first, for they are not
    independent; with other numbers of seeds, their half-widths are added. Tests on different rows
    are independent, so half-widths are added as squares. The permutation test is on the same mean.
    """
    assert tests, "a mean needs a paired test"
    groups: dict[str, dict[int, list[PairedTest]]] = {}
    for test in tests:
        seeds = len(test.first_predictions.values)
        groups.setdefault(test.test_rows, {}).setdefault(seeds, []).append(test)
    mean = below = above = 0.0
    for group in groups.values():
        lower = upper = 0.0
        for alike in group.values():
            share = len(alike) / len(tests)
            first = np.mean([test.first_predictions.values for test in alike], axis=0)
            second = np.mean([test.second_predictions.values for test in alike], axis=0)
            interval = paired_interval(first, second)  # of (seeds, rows)
            mean += share * interval.mean
            lower += share * (interval.mean - interval.low)
            upper += share * (interval.high - interval.mean)
        below, above = below + lower**2, above + upper**2
    low, high = mean - math.sqrt(below), mean + math.sqrt(above)
    p_value = paired_permutation_test(
        [
            [
                (test.first_predictions, test.second_predictions)
                for alike in group.values()
                for test in alike
            ]
            for group in groups.values()
        ]
    )
    metrics = [test.first_predictions.metric for test in tests]
    span = max(METRICS[metric].span for metric in metrics)
    return PairedDifference(mean, max(-span, low), min(span, high), p_value, metric=metrics[0])
