"""Entrants: train each on every fresh seed, predict the test split, and keep it as records."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import TestSplit
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import MicroBatcher, predict_logits
from autoprune.training.metrics import Score
from autoprune.training.problem_types import SINGLE_LABEL, ProblemType
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
    """What all measurements share: the task, the data (`fingerprints` of it), the machine."""

    task: str
    metric: str
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    problem_type: ProblemType = SINGLE_LABEL


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
    begin: Callable[[int, CheckpointFile], Callable[[], EntrantRun]]
    validate: Callable[[int, CheckpointFile], Callable[[], Score]]

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


EntrantMeasurement = dict[tuple[str, int], Record]  # by origin and seed


def entrant_variants(
    origin: str,
    layout: Layout,
    evaluators: Sequence[LayoutEvaluator],
    test: EncodedSplit,
    model: str,
    start: InitialWeights,
    executor: Executor,
) -> list[Entrant]:
    """Return the entrant once for each evaluator; these differ in their budget alone.

    It trains `layout` and predicts every raw test row. A run begins as soon as a process of
    `executor` is free. `model` is `name@commit`; `start` is `pretrained` or `random`.
    """
    parameters = evaluators[0].parameters(layout).total

    def variant(evaluator: LayoutEvaluator) -> Entrant:
        assert test.kept is evaluator.rows.kept, "all rows are numbered alike"

        def begin(seed: int, checkpoint: CheckpointFile) -> Callable[[], EntrantRun]:
            return executor.start(_train_and_predict, evaluator, layout, test, seed, checkpoint)

        def validate(seed: int, checkpoint: CheckpointFile) -> Callable[[], Score]:
            return executor.start(evaluator.evaluate, layout, seed, checkpoint=checkpoint)

        return Entrant(origin, layout, start, model, parameters, evaluator.budget, begin, validate)

    return [variant(evaluator) for evaluator in evaluators]


def _train_and_predict(
    evaluator: LayoutEvaluator,
    layout: Layout,
    test: EncodedSplit,
    seed: int,
    checkpoint: CheckpointFile,
) -> EntrantRun:
    trained = evaluator.train(layout, seed, checkpoint=checkpoint)
    batcher = MicroBatcher(evaluator.budget.batch)
    logits = predict_logits(trained.model, test, evaluator.device, batcher)
    return EntrantRun(trained.score, logits, tuple(batcher.notes))


def choose_learning_rates(
    variants: Sequence[Sequence[Entrant]],
    seed: int,
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None],
) -> list[Entrant]:
    """Return of each entrant's variants, which differ in `budget`, the best on validation.

    Each is run once with `seed`, which the comparison must not use, and never sees the test rows.
    Of equal ones the first is taken, also where all failed. Records go to `path`; what is there is
    not run again.
    """

    def start(entrant: Entrant, seed: int, checkpoint: CheckpointFile) -> Callable[[], _Results]:
        wait = entrant.validate(seed, checkpoint)
        return lambda: _validation_results(wait())

    runs = [(entrant, seed) for each in variants for entrant in each]
    records = _run_all(runs, "tuning", start, conditions, path, watch)
    qualities = {
        record_key(record): record.score("validation").quality if record.scores else -math.inf
        for record in records
    }
    return [
        max(each, key=lambda entrant: qualities[entrant.key(seed, conditions)]) for each in variants
    ]


def measure_entrants(
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    test: TestSplit,
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None],
) -> EntrantMeasurement:
    """Return a record for each entrant's origin and seed, the seeds in the outer loop.

    Complete records in `path` with the same key are taken as they are; failed ones are tried
    again. A new one is appended as soon as it is measured, before `watch` is called. Unfinished
    runs are saved beside `path` until their record is written.
    """

    def start(entrant: Entrant, seed: int, checkpoint: CheckpointFile) -> Callable[[], _Results]:
        wait = entrant.begin(seed, checkpoint)
        return lambda: _test_results(wait(), test, conditions, seed)

    runs = [(entrant, seed) for seed in seeds for entrant in entrants]
    fingerprints = fingerprints_with(test, conditions.fingerprints)
    conditions = replace(conditions, fingerprints=fingerprints)
    records = _run_all(runs, "comparison", start, conditions, path, watch)
    return {
        (entrant.origin, seed): record
        for (entrant, seed), record in zip(runs, records, strict=True)
    }


def fingerprints_with(test: TestSplit, fingerprints: dict[str, str]) -> dict[str, str]:
    """Return the data's fingerprints with those of the test rows and of which are kept."""
    kept = hashlib.sha256(bytes(test.kept)).hexdigest()
    return fingerprints | {"test": test.fingerprint, "test kept": kept}


@dataclass(frozen=True, slots=True)
class _Results:
    """What a record holds of a run that came to its end; failed where there is a `reason`."""

    scores: tuple[Score, ...] = ()
    predictions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


def _validation_results(score: Score) -> _Results:
    return _Results((score,), notes=(score.note,) if score.note else ())


def _test_results(
    run: EntrantRun, test: TestSplit, conditions: MeasurementConditions, seed: int
) -> _Results:
    """Return the validation score, those on the cleaned and the raw test rows, and predictions."""
    assert run.validation.split == "validation", "a run is scored on validation"
    assert len(run.logits) == len(test.rows), "logits for each raw test row"
    notes = tuple(note for note in (run.validation.note, *run.notes) if note)
    if not np.isfinite(run.logits).all():
        return _Results(notes=notes, reason="the trained model's outputs are not finite numbers")
    labels, kept = np.array(test.rows.labels), np.array(test.kept)
    seconds = run.validation.seconds
    problem_type, metric = conditions.problem_type, conditions.metric
    cleaned = problem_type.score(run.logits[kept], labels[kept], metric, "test", seed, seconds)
    raw = problem_type.score(run.logits, labels, metric, "test-raw", seed, seconds)
    predictions = tuple(map(int, problem_type.predict(run.logits)))
    return _Results((run.validation, cleaned, raw), predictions, notes)


def _run_all(
    runs: Sequence[tuple[Entrant, int]],
    phase: Phase,
    start: Callable[[Entrant, int, CheckpointFile], Callable[[], _Results]],
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None],
) -> list[Record]:
    """Return the record of each run (entrant and seed); all that are not in `path` start at once.

    Equal runs are made once. A run that raises `TrialError` gets a failed record.
    """
    known = {
        record_key(record): record
        for record in read_records(path)
        if record.phase == phase and record.state == "complete"
    }
    started: dict[RecordKey, Callable[[], _Results]] = {}
    for entrant, seed in runs:
        key = entrant.key(seed, conditions)
        if key not in known and key not in started:
            started[key] = start(entrant, seed, checkpoint_file(path.parent, tuple(key)))
    records = []
    for number, (entrant, seed) in enumerate(runs, start=1):
        key = entrant.key(seed, conditions)
        reused = key in known
        if not reused:
            try:
                results = started.pop(key)()
            except TrialError as error:
                results = _Results(reason=str(error) or "no reason given")
            known[key] = _make_record(phase, entrant, seed, results, conditions)
            append_record(path, known[key])
            checkpoint_file(path.parent, tuple(key)).remove()
        records.append(known[key])
        watch(EntrantProgress(entrant.origin, seed, known[key], reused, number, len(runs)))
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
