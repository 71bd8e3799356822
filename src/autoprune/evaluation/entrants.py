"""Entrants: train them on fresh seeds, predict the test split, and keep it as records."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import TrialError
from autoprune.evaluation.records import (
    InitialWeights,
    Phase,
    Record,
    RecordKey,
    append_record,
    read_records,
    record_key,
    utc_now,
)
from autoprune.evaluation.statistics import SIGNIFICANCE, look_levels
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import NO_LABEL, Label, TestSplit, label_array, label_tuples
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

if TYPE_CHECKING:  # who reads a finished study does not wait for torch
    from autoprune.tasks.tokenization import EncodedSplit
    from autoprune.training.checkpoint import CheckpointFile
    from autoprune.training.evaluator import LayoutEvaluator, TrainedModel
    from autoprune.training.workers import Executor


@dataclass(frozen=True, slots=True)
class EntrantRun:
    """One trained entrant: its validation score and its logits (raw test rows in order, classes).

    `notes` say what happened while it predicted (fewer rows at once, say), a line each.
    """

    validation: Score
    logits: NDArray[np.float32]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasurementConditions:
    """What all measurements share: the task, the data (`fingerprints` of it), the machine.

    `validation_rows` is how many rows a run is scored on before the test split.
    """

    task: str
    metric: str
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    problem_type: str = PROBLEM_TYPE_NAMES[0]
    validation_rows: int = 1000


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate of the comparison, trained within `budget`.

    `begin(seed, checkpoint)` starts a training run, which is saved to that file and resumed from
    it; it returns a function that waits for the run's end and may raise `TrialError`. `validate`
    does the same without looking at the test rows.

    `origin` is `found`, a strategy, `full`, `scratch` or a rival's name, different for each
    entrant; `model` is `name@commit`. Entrants of equal model, start and layout are measured once.
    """

    origin: str
    layout: Layout
    start: InitialWeights
    model: str
    parameters: int
    budget: Budget
    begin: "Callable[[int, CheckpointFile], Callable[[], EntrantRun]]"
    validate: "Callable[[int, CheckpointFile], Callable[[], Score]]"

    def key(self, seed: int, conditions: MeasurementConditions) -> RecordKey:
        """Return the key that the record of its run with `seed` has."""
        return RecordKey(
            self.model,
            self.start,
            self.layout,
            seed,
            self.budget,
            conditions.task,
            conditions.metric,
            tuple(sorted(conditions.fingerprints.items())),
        )


@dataclass(frozen=True, slots=True)
class EntrantProgress:
    """One more of the `total` runs has its record; `reused`: it was on file, and is not run now."""

    origin: str
    seed: int
    record: Record
    reused: bool
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class EntrantStopped:
    """An entrant of the comparison gets no further seed, and why."""

    origin: str
    reason: str


Watch = Callable[[EntrantProgress | EntrantStopped], None]


EntrantSeed = tuple[Entrant, int]

EntrantMeasurement = dict[tuple[str, int], Record]  # by origin and seed


@dataclass(frozen=True, slots=True)
class SeedSchedule:
    """The fresh seeds of a comparison in their order: at least the first `least`, at most all.

    Where `least` is 0 it is all of them. With `race`, an entrant that is surely behind gets no
    further seed; without it, each gets all that are used.
    """

    seeds: tuple[int, ...]
    least: int = 0
    race: bool = False

    def __post_init__(self) -> None:
        assert self.seeds and len(set(self.seeds)) == len(self.seeds), "seeds are given, each once"

    @property
    def minimum(self) -> int:
        """How many seeds are used at least."""
        return self.least or len(self.seeds)

    @property
    def is_open(self) -> bool:
        """Whether the results decide how many seeds are used."""
        return self.minimum < len(self.seeds)

    def level(self, seeds: int) -> float:
        """Return the level of a test after so many seeds; below the minimum there is no look."""
        if not self.is_open or seeds < self.minimum:
            return SIGNIFICANCE
        return look_levels(self.minimum, len(self.seeds))[seeds]


@dataclass(frozen=True, slots=True)
class Measured:
    """The records of a comparison by origin and seed.

    `seeds` are those of `schedule` that were used, an entrant has the first of them; `stopped` says
    why it has no more.
    """

    schedule: SeedSchedule
    seeds: tuple[int, ...]
    records: EntrantMeasurement
    stopped: Mapping[str, str]

    def runs(self, origin: str) -> list[Record]:
        """Return the records of an entrant in the order of the seeds."""
        return [self.records[origin, seed] for seed in self.seeds if (origin, seed) in self.records]


def entrant_variants(
    origin: str,
    layout: Layout,
    evaluators: "Sequence[LayoutEvaluator]",
    test: "EncodedSplit",
    model: str,
    start: InitialWeights,
    executor: "Executor",
) -> list[Entrant]:
    """Return the entrant once for each evaluator; these differ in their budget alone.

    It trains `layout` and predicts every raw test row. A run begins as soon as a process of
    `executor` is free. `model` is `name@commit`; `start` is `pretrained` or `random`.
    """
    parameters = evaluators[0].parameters(layout).total

    def variant(evaluator: "LayoutEvaluator") -> Entrant:
        assert test.kept is evaluator.rows.kept, "all rows are numbered alike"

        def begin(seed: int, checkpoint: "CheckpointFile") -> Callable[[], EntrantRun]:
            return executor.start(_train_and_predict, evaluator, layout, test, seed, checkpoint)

        def validate(seed: int, checkpoint: "CheckpointFile") -> Callable[[], Score]:
            return executor.start(evaluator.evaluate, layout, seed, checkpoint=checkpoint)

        return Entrant(origin, layout, start, model, parameters, evaluator.budget, begin, validate)

    return [variant(evaluator) for evaluator in evaluators]


def _train_and_predict(
    evaluator: "LayoutEvaluator",
    layout: Layout,
    test: "EncodedSplit",
    seed: int,
    checkpoint: "CheckpointFile",
) -> EntrantRun:
    return predict_test(evaluator, evaluator.train(layout, seed, checkpoint=checkpoint), test)


def predict_test(
    evaluator: "LayoutEvaluator", trained: "TrainedModel", test: "EncodedSplit"
) -> EntrantRun:
    """Return a trained model's validation score and its logits of the test rows."""
    from autoprune.training.loop import MicroBatcher, predict_logits

    batcher = MicroBatcher(evaluator.budget.batch)
    logits = predict_logits(trained.model, test, evaluator.device, batcher)
    return EntrantRun(trained.score, logits, tuple(batcher.notes))


def choose_budgets(
    variants: Sequence[Sequence[Entrant]],
    seed: int,
    conditions: MeasurementConditions,
    path: Path,
    watch: Watch,
) -> list[Entrant]:
    """Return of each entrant's variants, which differ in `budget`, the best on validation.

    Each is run once with `seed`, which the comparison must not use, and never sees the test rows.
    Of equal ones the first is taken, also where all failed. Records go to `path`; what is there is
    not run again.
    """

    def start(entrant: Entrant, seed: int, checkpoint: "CheckpointFile") -> Callable[[], _Results]:
        wait = entrant.validate(seed, checkpoint)
        return lambda: _validation_results(wait())

    runs = [(entrant, seed) for each in variants for entrant in each]
    records = EntrantRuns("tuning", start, conditions, path, watch).finish(runs)
    qualities = {
        record_key(record): record.score("validation").quality if record.scores else -math.inf
        for record in records
    }
    return [
        max(each, key=lambda entrant: qualities[entrant.key(seed, conditions)]) for each in variants
    ]


def comparison_runs(
    test: TestSplit, conditions: MeasurementConditions, path: Path, watch: Watch
) -> "EntrantRuns":
    """Return what trains entrants and scores them on the test split."""

    def start(entrant: Entrant, seed: int, checkpoint: "CheckpointFile") -> Callable[[], _Results]:
        wait = entrant.begin(seed, checkpoint)
        return lambda: _test_results(wait(), test, conditions, seed)

    fingerprints = fingerprints_with(test, conditions.fingerprints)
    fingerprinted = replace(conditions, fingerprints=fingerprints)
    return EntrantRuns("comparison", start, fingerprinted, path, watch)


def fingerprints_with(test: TestSplit, fingerprints: dict[str, str]) -> dict[str, str]:
    """Return the data's fingerprints with those of the test rows and of which are kept."""
    kept = hashlib.sha256(bytes(test.kept)).hexdigest()
    return fingerprints | {"test": test.fingerprint, "test kept": kept}


@dataclass(frozen=True, slots=True)
class _Results:
    """What a record holds of a run that came to its end; failed where there is a `reason`."""

    scores: tuple[Score, ...] = ()
    predictions: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


def _validation_results(score: Score) -> _Results:
    return _Results((score,), notes=(score.note,) if score.note else ())


def _test_results(
    run: EntrantRun, test: TestSplit, conditions: MeasurementConditions, seed: int
) -> _Results:
    """Return the validation score, those on the cleaned and the raw test rows, and predictions."""
    from autoprune.training.problem_types import PROBLEM_TYPES

    assert run.validation.split == "validation", "a run is scored on validation"
    assert len(run.logits) == len(test.rows), "logits for each raw test row"
    notes = tuple(note for note in (run.validation.note, *run.notes) if note)
    if not np.isfinite(run.logits).all():
        return _Results(notes=notes, reason="the trained model's outputs are not finite numbers")
    labels, kept = label_array(test.rows.labels), np.array(test.kept)
    seconds = run.validation.seconds
    problem_type, metric = PROBLEM_TYPES[conditions.problem_type], conditions.metric
    cleaned = problem_type.score(run.logits[kept], labels[kept], metric, "test", seed, seconds)
    raw = problem_type.score(run.logits, labels, metric, "test-raw", seed, seconds)
    predictions = problem_type.predict(run.logits)
    if problem_type.by_word:
        predictions = np.where(labels == NO_LABEL, NO_LABEL, predictions)
    return _Results((run.validation, cleaned, raw), label_tuples(predictions), notes)


@dataclass(frozen=True, slots=True)
class EntrantRuns:
    """Runs of entrants in one phase; their records go to the file `path`.

    Complete records in it with the same key are taken as they are; failed ones are tried again. A
    new one is appended as soon as it is measured, before `watch` is called. Unfinished runs are
    saved beside the file until their record is written. Equal runs are made once.
    """

    phase: Phase
    begin: "Callable[[Entrant, int, CheckpointFile], Callable[[], _Results]]"
    conditions: MeasurementConditions
    path: Path
    watch: Watch
    known: dict[RecordKey, Record] = field(default_factory=dict)
    started: dict[RecordKey, Callable[[], _Results]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in read_records(self.path):
            if record.phase == self.phase and record.state == "complete":
                self.known[record_key(record)] = record

    def is_free(self, entrant: Entrant, seed: int) -> bool:
        """Tell whether a run is on file, or is made for another entrant."""
        key = entrant.key(seed, self.conditions)
        return key in self.known or key in self.started

    def start(self, runs: Sequence[EntrantSeed]) -> None:
        """Start the runs that are not there, in their order."""
        for entrant, seed in runs:
            if not self.is_free(entrant, seed):
                key = entrant.key(seed, self.conditions)
                self.started[key] = self.begin(entrant, seed, self._checkpoint(key))

    def _checkpoint(self, key: RecordKey) -> "CheckpointFile":
        from autoprune.training.checkpoint import checkpoint_file

        return checkpoint_file(self.path.parent, tuple(key))

    def finish(
        self, runs: Sequence[EntrantSeed], done: int = 0, total: int | None = None
    ) -> list[Record]:
        """Return the record of each run, once all have ended.

        A run that raises `TrialError` gets a failed record. `done` of the `total` runs of the phase
        ended before.
        """
        self.start(runs)
        records = []
        for number, (entrant, seed) in enumerate(runs, start=done + 1):
            key = entrant.key(seed, self.conditions)
            is_new = key in self.started
            if is_new:
                try:
                    results = self.started.pop(key)()
                except TrialError as error:
                    results = _Results(reason=str(error) or "no reason given")
                self.known[key] = _make_record(self.phase, entrant, seed, results, self.conditions)
                append_record(self.path, self.known[key])
                self._checkpoint(key).remove()
            record = self.known[key]
            records.append(record)
            of = total or len(runs)
            self.watch(EntrantProgress(entrant.origin, seed, record, not is_new, number, of))
        return records


def _make_record(
    phase: Phase, entrant: Entrant, seed: int, results: _Results, conditions: MeasurementConditions
) -> Record:
    return Record(
        phase=phase,
        origin=entrant.origin,
        layout=entrant.layout,
        start=entrant.start,
        model=entrant.model,
        task=conditions.task,
        metric=conditions.metric,
        budget=entrant.budget,
        seed=seed,
        scores=results.scores,
        parameters=entrant.parameters,
        fingerprints=conditions.fingerprints,
        versions=conditions.versions,
        device=conditions.device,
        finished=utc_now(),
        predictions=results.predictions,
        notes=results.notes,
        state="failed" if results.reason else "complete",
        reason=results.reason,
    )
