"""Comparison: the found layout compared with fixed strategies, scratch-trained models, rivals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from autoprune.errors import DataError, StudyError
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantMeasurement,
    EntrantProgress,
    MeasurementConditions,
    measure_entrants,
)
from autoprune.evaluation.permutation_test import PairedDifference, paired_difference
from autoprune.evaluation.predictions import Predictions
from autoprune.evaluation.records import Record
from autoprune.evaluation.statistics import mean_interval, seed_std
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import TestSplit
from autoprune.training.metrics import METRICS


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One entrant over all fresh seeds: qualities, means over seeds.

    `test_*` are on the cleaned test rows, `test_std` over seeds, None for one seed; `seconds` is
    the training time of a run, `learning_rate` its peak; `difference` is this row minus the
    reference (all 0, p 1 for itself).
    """

    origin: str
    layout: Layout
    parameters: int
    seeds: int
    test_mean: float
    test_std: float | None
    test_low: float
    test_high: float
    raw_mean: float
    validation_mean: float
    macro_f1: float
    seconds: float
    learning_rate: float
    difference: PairedDifference


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows in the order of the entrants, and what follows from them.

    `reference` is the origin of the best fixed strategy by mean validation quality, `recommended`
    that of the layout to take: `found` if its validation mean is higher than the reference's.
    `against` has, for each other origin, the subject (`found`, else the reference) minus it.
    `records` are the distinct measurements; `left_out` names the entrants that failed, a line each.
    """

    rows: tuple[ComparisonRow, ...]
    reference: str
    recommended: str
    against: dict[str, PairedDifference]
    seeds: tuple[int, ...]
    test_rows: int
    raw_rows: int
    metric: str
    records: tuple[Record, ...]
    left_out: tuple[str, ...]

    def row(self, origin: str) -> ComparisonRow:
        """Return the row of `origin`; raises KeyError where it was left out or did not enter."""
        return {row.origin: row for row in self.rows}[origin]

    @property
    def subject(self) -> ComparisonRow:
        """The row that the verdict is about: `found`, or the reference where nothing was found."""
        has_found = any(row.origin == "found" for row in self.rows)
        return self.row("found" if has_found else self.reference)


def compare_entrants(
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    test: TestSplit,
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None] = lambda _: None,
) -> Comparison:
    """Measure every entrant on every seed (see `measure_entrants`) and compare them.

    At least one entrant is a fixed strategy. Records go to `path`; what is there already is not
    measured again. An entrant that fails on a seed is left out. Raises `DataError` where cleaning
    leaves fewer than two test rows, `StudyError` where no strategy could be trained.
    """
    assert seeds and len(set(seeds)) == len(seeds), "seeds are given, each once"
    assert len({entrant.origin for entrant in entrants}) == len(entrants), "origins differ"
    if sum(test.kept) < 2:
        raise DataError(f"cleaning must leave at least 2 test rows, it left {sum(test.kept)}")
    measured = measure_entrants(entrants, seeds, test, conditions, path, watch)
    return build_comparison(entrants, seeds, test, conditions.metric, measured)


def build_comparison(
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    test: TestSplit,
    metric: str,
    measured: EntrantMeasurement,
) -> Comparison:
    """Compare what was measured of every entrant on every seed; see `compare_entrants`."""
    failed = {
        origin: f"{origin} failed with seed {seed}: {record.reason}"
        for (origin, seed), record in reversed(measured.items())
        if record.state == "failed"
    }
    runs = {
        entrant.origin: [measured[entrant.origin, seed] for seed in seeds]
        for entrant in entrants
        if entrant.origin not in failed
    }
    validation = {origin: _mean(records, "validation") for origin, records in runs.items()}
    strategies = [origin for origin in STRATEGIES if origin in runs]
    if not strategies:
        raise StudyError(f"no fixed strategy to compare with: {'; '.join(failed.values())}")
    reference = max(strategies, key=lambda origin: validation[origin])
    subject = "found" if "found" in runs else reference
    predictions = {
        origin: Predictions.of(records, test, metric) for origin, records in runs.items()
    }
    return Comparison(
        rows=tuple(
            _row(
                entrant,
                runs[entrant.origin],
                predictions[entrant.origin],
                paired_difference(predictions[entrant.origin], predictions[reference]),
            )
            for entrant in entrants
            if entrant.origin in runs
        ),
        reference=reference,
        recommended=subject if validation[subject] > validation[reference] else reference,
        against={
            origin: paired_difference(predictions[subject], other)
            for origin, other in predictions.items()
            if origin != subject
        },
        seeds=tuple(seeds),
        test_rows=sum(test.kept),
        raw_rows=len(test.rows),
        metric=metric,
        records=tuple({id(record): record for record in measured.values()}.values()),
        left_out=tuple(failed.values()),
    )


def _row(
    entrant: Entrant,
    records: Sequence[Record],
    predictions: Predictions,
    difference: PairedDifference,
) -> ComparisonRow:
    interval = mean_interval(predictions.values)
    least, greatest = METRICS[predictions.metric].bounds
    return ComparisonRow(
        origin=entrant.origin,
        layout=entrant.layout,
        parameters=entrant.parameters,
        seeds=len(records),
        test_mean=_mean(records, "test"),
        test_std=seed_std([record.score("test").quality for record in records]),
        test_low=max(least, interval.low),
        test_high=min(greatest, interval.high),
        raw_mean=_mean(records, "test-raw"),
        validation_mean=_mean(records, "validation"),
        macro_f1=fmean(record.score("test").macro_f1 for record in records),
        seconds=fmean(record.score("validation").seconds for record in records),
        learning_rate=entrant.budget.learning_rate,
        difference=difference,
    )


def _mean(records: Sequence[Record], split: str) -> float:
    return fmean(record.score(split).quality for record in records)
