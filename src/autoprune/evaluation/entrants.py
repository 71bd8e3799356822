"""Measuring: every entrant on every fresh seed, kept as records, nothing measured twice."""

import hashlib
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import TrialError
from autoprune.evaluation.records import (
    InitialWeights,
    Phase,
    Record,
    append_records,
    read_records,
    record_identity,
    record_key,
    utc_now,
)
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import TestSplit
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import MicroBatcher, TrainingClock, predict_logits
from autoprune.training.metrics import Score, score_predictions
from autoprune.training.workers import Executor


@dataclass(frozen=True, slots=True)
class EntrantRun:
    """One trained entrant: its validation score and its logits (raw test rows in order, classes).

    `notes` tell what happened while predicting, one line each (fewer rows at once, say).
    """

    validation: Score
    logits: NDArray[np.float32]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate of the comparison; `begin` begins to train it with a seed.

    The run is kept at the place that `begin` is given, and goes on from it. What `begin` returns
    waits for its end, and may raise `TrialError`. `validate` is alike, but looks at the validation
    rows alone. Both train within `budget`.

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


@dataclass(frozen=True, slots=True)
class MeasurementConditions:
    """What all measurements share: the task, the data (`fingerprints` of it), the machine."""

    task: str
    metric: str
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str


@dataclass(frozen=True, slots=True)
class EntrantProgress:
    """Where the measuring stands: `done` of `total` entrants x seeds; `reused`: not run now."""

    origin: str
    seed: int
    record: Record
    reused: bool
    done: int
    total: int


EntrantMeasurement = dict[tuple[str, int], Record]


def measure_entrants(
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    test: TestSplit,
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None],
) -> EntrantMeasurement:
    """Return a record for each entrant's origin and seed, the seeds in the outer loop.

    Records in `path` with the same key are taken as they are, failed ones tried again; a new one is
    appended as soon as it is measured, before `watch` is told. Runs under way are kept beside
    `path`, until their record is written.
    """
    known: dict[Hashable, Record] = {
        record_key(record): record
        for record in read_records(path)
        if record.phase == "comparison" and record.state == "complete"
    }
    prints = fingerprints_with(test, conditions.fingerprints)
    runs = [(seed, entrant) for seed in seeds for entrant in entrants]
    under_way: dict[Hashable, Callable[[], EntrantRun]] = {}
    for seed, entrant in runs:
        wanted = wanted_record_keys(entrant, seed, conditions, prints)
        if wanted not in known and wanted not in under_way:
            under_way[wanted] = entrant.begin(seed, checkpoint_file(path.parent, wanted))
    measured: EntrantMeasurement = {}
    for seed, entrant in runs:
        wanted = wanted_record_keys(entrant, seed, conditions, prints)
        reused = wanted in known
        if not reused:
            known[wanted] = _measured(entrant, under_way.pop(wanted), seed, test, conditions)
            append_records(path, known[wanted])
            checkpoint_file(path.parent, wanted).take_away()
        record = measured[entrant.origin, seed] = known[wanted]
        watch(EntrantProgress(entrant.origin, seed, record, reused, len(measured), len(runs)))
    return measured


def wanted_record_keys(
    entrant: Entrant, seed: int, conditions: MeasurementConditions, prints: dict[str, str]
) -> Hashable:
    """Return the identity of an entrant's measurement on data with these fingerprints."""
    return record_identity(
        entrant.model,
        entrant.start,
        entrant.layout,
        seed,
        entrant.budget,
        conditions.task,
        conditions.metric,
        prints,
    )


def _measured(
    entrant: Entrant,
    wait: Callable[[], EntrantRun],
    seed: int,
    test: TestSplit,
    conditions: MeasurementConditions,
) -> Record:
    scores: tuple[Score, ...] = ()
    predictions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    reason = ""
    try:
        run = wait()
        notes = tuple(note for note in (run.validation.note, *run.notes) if note)
        scores = _scores(run, test, conditions.metric, seed)
        predictions = tuple(map(int, run.logits.argmax(-1)))  # (rows, classes) -> (rows,)
    except TrialError as error:
        reason = str(error) or "no reason given"
    prints = fingerprints_with(test, conditions.fingerprints)
    return make_record(
        "comparison", entrant, seed, scores, conditions, prints, predictions, notes, reason
    )


def make_record(
    phase: Phase,
    entrant: Entrant,
    seed: int,
    scores: tuple[Score, ...],
    conditions: MeasurementConditions,
    prints: dict[str, str],
    predictions: tuple[int, ...] = (),
    notes: tuple[str, ...] = (),
    reason: str = "",
) -> Record:
    """Return the record of an entrant's run that ended now, failed where there is a `reason`."""
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
        scores=scores,
        parameters=entrant.parameters,
        fingerprints=prints,
        versions=conditions.versions,
        device=conditions.device,
        finished=utc_now(),
        predictions=predictions,
        notes=notes,
        state="failed" if reason else "complete",
        reason=reason,
    )


def _scores(run: EntrantRun, test: TestSplit, metric: str, seed: int) -> tuple[Score, ...]:
    """Return the validation score and those on the cleaned and the raw test rows."""
    assert run.validation.split == "validation", "a run is scored on validation"
    assert len(run.logits) == len(test.rows), "logits for each raw test row"
    if not np.isfinite(run.logits).all():
        raise TrialError("the trained model's outputs are not finite numbers")
    labels, kept = np.array(test.rows.labels), np.array(test.kept)
    seconds = run.validation.seconds
    cleaned = score_predictions(run.logits[kept], labels[kept], metric, "test", seed, seconds)
    raw = score_predictions(run.logits, labels, metric, "test-raw", seed, seconds)
    return run.validation, cleaned, raw


def fingerprints_with(test: TestSplit, fingerprints: dict[str, str]) -> dict[str, str]:
    """Return the data's fingerprints with those of the test rows and of which are kept."""
    kept = hashlib.sha256(bytes(test.kept)).hexdigest()
    return fingerprints | {"test": test.fingerprint, "test kept": kept}


def entrant_variants(
    origin: str,
    layout: Layout,
    benches: Sequence[LayoutEvaluator],
    test: EncodedSplit,
    model: str,
    start: InitialWeights,
    crew: Executor,
) -> list[Entrant]:
    """Return the entrant that trains `layout` and predicts every raw test row, once for each bench.

    The benches differ in their budget alone. A run begins as soon as a process of `crew` is free.
    `model` names the checkpoint with its commit; `start` is `pretrained` or `random`.
    """
    parameters = benches[0].parameters(layout).total
    return [
        _entrant(origin, layout, bench, test, model, start, parameters, crew) for bench in benches
    ]


def _entrant(
    origin: str,
    layout: Layout,
    bench: LayoutEvaluator,
    test: EncodedSplit,
    model: str,
    start: InitialWeights,
    parameters: int,
    crew: Executor,
) -> Entrant:
    assert test.kept is bench.rows.kept, "all rows are numbered alike"

    def begin(seed: int, place: CheckpointFile) -> Callable[[], EntrantRun]:
        return crew.start(_run, bench, layout, test, seed, place)

    def validate(seed: int, place: CheckpointFile) -> Callable[[], Score]:
        return crew.start(_validate, bench, layout, seed, place)

    return Entrant(origin, layout, start, model, parameters, bench.budget, begin, validate)


def _validate(bench: LayoutEvaluator, layout: Layout, seed: int, place: CheckpointFile) -> Score:
    return bench.measure(layout, seed, saved=place)


def _run(
    bench: LayoutEvaluator, layout: Layout, test: EncodedSplit, seed: int, place: CheckpointFile
) -> EntrantRun:
    trained = bench.train(layout, seed, saved=place)
    parts = MicroBatcher(bench.budget.batch)
    logits = predict_logits(trained.model, test, bench.device, parts, TrainingClock())
    return EntrantRun(trained.score, logits, tuple(parts.notes))


def choose_learning_rates(
    variants: Sequence[Sequence[Entrant]],
    seed: int,
    conditions: MeasurementConditions,
    path: Path,
    watch: Callable[[EntrantProgress], None],
) -> list[Entrant]:
    """Return of each entrant's variants, which differ in `budget`, the best on validation.

    Each is run once with `seed`, which the comparison must not use, and never sees the test rows;
    where two are equal the earlier is taken, and the first where all failed. Records go to
    `path`; what is there is not run again.
    """
    known: dict[Hashable, Record] = {
        record_key(record): record
        for record in read_records(path)
        if record.phase == "tuning" and record.state == "complete"
    }
    runs = [entrant for each in variants for entrant in each]

    def wanted_by(entrant: Entrant) -> Hashable:
        return wanted_record_keys(entrant, seed, conditions, conditions.fingerprints)

    under_way: dict[Hashable, Callable[[], Score]] = {}
    for entrant in runs:
        wanted = wanted_by(entrant)
        if wanted not in known and wanted not in under_way:
            under_way[wanted] = entrant.validate(seed, checkpoint_file(path.parent, wanted))
    for number, entrant in enumerate(runs, 1):
        wanted = wanted_by(entrant)
        reused = wanted in known
        if not reused:
            known[wanted] = _validated(entrant, under_way.pop(wanted), seed, conditions)
            append_records(path, known[wanted])
            checkpoint_file(path.parent, wanted).take_away()
        watch(EntrantProgress(entrant.origin, seed, known[wanted], reused, number, len(runs)))
    return [max(each, key=lambda one: _quality(known[wanted_by(one)])) for each in variants]


def _validated(
    entrant: Entrant, wait: Callable[[], Score], seed: int, conditions: MeasurementConditions
) -> Record:
    scores: tuple[Score, ...] = ()
    reason = ""
    try:
        scores = (wait(),)
    except TrialError as error:
        reason = str(error) or "no reason given"
    notes = tuple(score.note for score in scores if score.note)
    prints = conditions.fingerprints
    return make_record(
        "tuning", entrant, seed, scores, conditions, prints, notes=notes, reason=reason
    )


def _quality(record: Record) -> float:
    return record.score("validation").quality if record.scores else -math.inf
