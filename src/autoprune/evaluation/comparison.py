"""Comparison: the found layout compared with fixed strategies, scratch-trained models, rivals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from autoprune.errors import StudyError
from autoprune.evaluation.entrants import Entrant, Measured, SeedSchedule
from autoprune.evaluation.permutation_test import PairedDifference, Predictions, paired_difference
from autoprune.evaluation.records import Record
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import SIGNIFICANCE, mean_interval, seed_std
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import TestSplit, label_array
from autoprune.training.metrics import METRICS


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One entrant over its fresh seeds: qualities, means over seeds.

    `test_*` are on the cleaned test rows, `test_by_seed` in the order of the seeds, `test_std` over
    seeds, None for one seed; `seconds` is
    the training time of a run, `learning_rate` its peak; `difference` is this row minus the
    reference (all 0, p 1 for itself), on the seeds that both have. `stopped` says why it has
    fewer seeds than others.
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
    macro_f1: float | None
    seconds: float
    learning_rate: float
    difference: PairedDifference
    test_by_seed: tuple[float, ...] = ()
    stopped: str = ""

    @property
    def description(self) -> str:
        """The layout in its text form."""
        return str(self.layout)


@dataclass(frozen=True, slots=True)
class SimpleRow:
    """A simple model in the comparison, its values named as in `ComparisonRow`."""

    model: SimpleModel
    test_mean: float
    test_low: float
    test_high: float
    raw_mean: float
    macro_f1: float | None
    difference: PairedDifference

    layout: ClassVar[None] = None
    test_std: ClassVar[None] = None
    seeds: ClassVar[None] = None
    stopped: ClassVar[str] = ""
    learning_rate: ClassVar[None] = None

    @property
    def origin(self) -> str:
        """`majority` or `tf-idf`."""
        return self.model.origin

    @property
    def description(self) -> str:
        """What was fitted."""
        return self.model.description

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        return self.model.parameters

    @property
    def validation_mean(self) -> float:
        """Its quality on validation."""
        return self.model.validation

    @property
    def seconds(self) -> float:
        """How long it was fitted."""
        return self.model.seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows in the order of the entrants, and what follows from them.

    `reference` is the origin of the best fixed strategy by mean validation quality,
    `best_on_validation` that of the best pruned layout: `found` if its validation mean is higher
    than the reference's.
    `against` has, for each other origin, the subject (`found`, else the reference) minus it.
    `records` are the distinct measurements; `left_out` names the entrants that failed, a line each.
    `seeds` are those of `schedule` that were used; an entrant has the first of them, `runs` tells
    how many.

    `simple` are the simple models, none in studies of version 0.1.0. `over_majority` has, for each
    entrant, its quality minus that of the majority label. `collapsed` names the seeds with which an
    entrant learned nothing, though it did with another.
    """

    rows: tuple[ComparisonRow, ...]
    reference: str
    best_on_validation: str
    against: dict[str, PairedDifference]
    seeds: tuple[int, ...]
    test_rows: int
    raw_rows: int
    metric: str
    records: tuple[Record, ...]
    left_out: tuple[str, ...]
    schedule: SeedSchedule
    runs: Mapping[str, int]
    simple: tuple[SimpleRow, ...] = ()
    over_majority: Mapping[str, PairedDifference] = field(default_factory=dict)
    collapsed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def recommended(self) -> str | None:
        """The origin of the layout to take: the best on validation that has learned something.

        None where neither the found layout nor the best fixed strategy has.
        """
        candidates = (self.best_on_validation, self.subject.origin, self.reference)
        return next((origin for origin in candidates if self.has_learned(origin)), None)

    @property
    def best(self) -> str:
        """The recommended origin, or where nothing is recommended, the best on validation."""
        return self.recommended or self.best_on_validation

    def has_learned(self, origin: str) -> bool:
        """Whether an entrant's trained models are better than always answering the same label.

        True where that was not measured. The p-value decides, which is of these trained models.
        """
        gap = self.over_majority.get(origin)
        return gap is None or (gap.mean > 0 and gap.p_value < SIGNIFICANCE)

    @property
    def all_rows(self) -> tuple[ComparisonRow | SimpleRow, ...]:
        """The rows of the entrants and then those of the simple models."""
        return *self.rows, *self.simple

    def simple_row(self, origin: str) -> SimpleRow | None:
        """Return the row of a simple model, None where it was not measured."""
        return {row.origin: row for row in self.simple}.get(origin)

    def row(self, origin: str) -> ComparisonRow:
        """Return the row of `origin`; raises KeyError where it was left out or did not enter."""
        return {row.origin: row for row in self.rows}[origin]

    @property
    def subject(self) -> ComparisonRow:
        """The row that the verdict is about: `found`, or the reference where there is none."""
        has_found = any(row.origin == "found" for row in self.rows)
        return self.row("found" if has_found else self.reference)

    @property
    def found_failed(self) -> bool:
        """Whether there was a search, and what it found could not be trained."""
        return "found" in self.runs and self.subject.origin != "found"


def build_comparison(
    entrants: Sequence[Entrant],
    measured: Measured,
    test: TestSplit,
    metric: str,
    simple: Sequence[SimpleModel] = (),
) -> Comparison:
    """Compare what was measured of the entrants; see `racing.compare_entrants`.

    Only a strategy with all seeds can be the reference. Raises `StudyError` where there is none.
    """
    schedule, seeds = measured.schedule, measured.seeds
    failed = {
        origin: f"{origin} failed with seed {seed}: {record.reason}"
        for (origin, seed), record in reversed(measured.records.items())
        if record.state == "failed"
    }
    runs = {
        entrant.origin: measured.runs(entrant.origin)
        for entrant in entrants
        if entrant.origin not in failed
    }
    validation = {origin: _mean(records, "validation") for origin, records in runs.items()}
    strategies = [name for name in STRATEGIES if name in runs and len(runs[name]) == len(seeds)]
    if not strategies:
        raise StudyError(f"no fixed strategy to compare with: {'; '.join(failed.values())}")
    reference = max(strategies, key=lambda origin: validation[origin])
    subject = "found" if "found" in runs else reference
    predictions = {
        origin: Predictions.of(records, test, metric) for origin, records in runs.items()
    }
    of_simple = {
        model.origin: Predictions.of_simple_model(model, test, metric, len(seeds))
        for model in simple
    }
    over_majority, collapsed = _compare_with_majority(predictions, of_simple.get("majority"), seeds)

    def difference(first: Predictions, second: Predictions) -> PairedDifference:
        common = min(len(first.predicted), len(second.predicted))
        return paired_difference(first, second, schedule.level(common))

    return Comparison(
        rows=tuple(
            _row(
                entrant,
                runs[entrant.origin],
                predictions[entrant.origin],
                difference(predictions[entrant.origin], predictions[reference]),
                measured.stopped[entrant.origin] if len(runs[entrant.origin]) < len(seeds) else "",
            )
            for entrant in entrants
            if entrant.origin in runs
        ),
        reference=reference,
        best_on_validation=subject if validation[subject] > validation[reference] else reference,
        against={
            origin: difference(predictions[subject], other)
            for origin, other in (predictions | of_simple).items()
            if origin != subject
        },
        seeds=seeds,
        test_rows=sum(test.kept),
        raw_rows=len(test.rows),
        metric=metric,
        records=tuple({id(record): record for record in measured.records.values()}.values()),
        left_out=tuple(failed.values()),
        schedule=schedule,
        runs={entrant.origin: len(measured.runs(entrant.origin)) for entrant in entrants},
        simple=tuple(
            _simple_row(
                model,
                of_simple[model.origin],
                difference(of_simple[model.origin], predictions[reference]),
                test,
                runs[reference][0].score("test").macro_f1 is not None,
            )
            for model in simple
        ),
        over_majority=over_majority,
        collapsed=collapsed,
    )


def _compare_with_majority(
    predictions: dict[str, Predictions], majority: Predictions | None, seeds: tuple[int, ...]
) -> tuple[dict[str, PairedDifference], dict[str, tuple[int, ...]]]:
    """Return each entrant's quality minus the majority label's, and its collapsed seeds.

    A seed collapsed where its difference is within the noise of the rows, or not above a quarter of
    the best seed's, and the best seed's is above its own noise.
    """
    if majority is None:
        return {}, {}
    over_majority = {
        origin: paired_difference(each, majority) for origin, each in predictions.items()
    }
    collapsed = {}
    for origin, each in predictions.items():
        gaps = each.values - majority.values[: len(each.values)]  # (seeds, rows)
        means, noise = gaps.mean(axis=1), 1.96 * gaps.std(axis=1) / math.sqrt(gaps.shape[1])
        best = int(means.argmax())
        if means[best] > noise[best]:
            bad = (means <= noise) & (means < means[best] / 4)
            collapsed[origin] = tuple(
                seed for seed, is_bad in zip(seeds, bad, strict=False) if is_bad
            )
    return over_majority, {origin: bad for origin, bad in collapsed.items() if bad}


def _row(
    entrant: Entrant,
    records: Sequence[Record],
    predictions: Predictions,
    difference: PairedDifference,
    stopped: str,
) -> ComparisonRow:
    interval = mean_interval(predictions.values)
    by_seed = tuple(record.score("test").quality for record in records)
    macro_f1 = [f1 for each in records if (f1 := each.score("test").macro_f1) is not None]
    least, greatest = METRICS[predictions.metric].bounds
    return ComparisonRow(
        origin=entrant.origin,
        layout=entrant.layout,
        parameters=entrant.parameters,
        seeds=len(records),
        test_mean=_mean(records, "test"),
        test_std=seed_std(by_seed),
        test_low=max(least, interval.low),
        test_high=min(greatest, interval.high),
        raw_mean=_mean(records, "test-raw"),
        validation_mean=_mean(records, "validation"),
        macro_f1=fmean(macro_f1) if macro_f1 else None,
        seconds=fmean(record.score("validation").seconds for record in records),
        learning_rate=entrant.budget.learning_rate,
        difference=difference,
        test_by_seed=by_seed,
        stopped=stopped,
    )


def _simple_row(
    model: SimpleModel,
    predictions: Predictions,
    difference: PairedDifference,
    test: TestSplit,
    has_macro_f1: bool,
) -> SimpleRow:
    interval = mean_interval(predictions.values[:1])
    metric, labels = METRICS[predictions.metric], label_array(test.rows.labels)
    least, greatest = metric.bounds
    return SimpleRow(
        model=model,
        test_mean=interval.mean,
        test_low=max(least, interval.low),
        test_high=min(greatest, interval.high),
        raw_mean=metric.quality(labels, label_array(model.predictions)),
        macro_f1=METRICS["macro-f1"].quality(predictions.labels, predictions.predicted[0])
        if has_macro_f1
        else None,
        difference=difference,
    )


def _mean(records: Sequence[Record], split: str) -> float:
    return fmean(record.score(split).quality for record in records)
