"""Teacher: the full model, or a classifier of the user, whose logits candidates learn."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.encoders.loading import (
    load_tokenizer,
    load_trained,
    max_input_length,
    trained_labels,
)
from autoprune.errors import StudyError
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantRun,
    Watch,
    comparison_runs,
    predict_test,
)
from autoprune.evaluation.study_files import RECORDS_FILE
from autoprune.experiment.inputs import unlabelled_rows
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit, encode
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file
from autoprune.training.distillation import TeacherTargets, predict_targets
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.workers import Executor

TEACHER_FOLDER = "teacher"
"""Folder of a study with what its teachers say of the train rows and the texts without labels."""


def stored_targets(experiment: Experiment, folder: Path) -> TeacherTargets | None:
    """Return what the study's teachers say, their mean; None unless it is stored for all."""
    targets = [_read(experiment, folder, name) for name in _files(experiment)]
    found = [each for each in targets if each is not None]
    return TeacherTargets.average(found) if len(found) == len(targets) else None


def _read(experiment: Experiment, folder: Path, name: str) -> TeacherTargets | None:
    """Return what one teacher says; None where it is not stored, or damaged."""
    found = TeacherTargets.read(folder / TEACHER_FOLDER / name, _files(experiment)[name])
    rows, labels = len(experiment.inputs.with_unlabelled), len(experiment.splits.names)
    if found is None or (len(found.logits), found.logits.shape[-1]) != (rows, labels):
        return None
    return found if np.isfinite(found.logits).all() else None


def share_targets(experiment: Experiment, sources: Iterable[Path], folder: Path) -> None:
    """Copy the targets of another study's teachers, where they are those of this study too."""
    if experiment.distillation is None:
        return
    for source in sources:
        for name in _files(experiment):
            if not _read(experiment, folder, name) and _read(experiment, source, name):
                own, other = (each / TEACHER_FOLDER / name for each in (folder, source))
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(other, own)


def with_stored_teacher(experiment: Experiment, folder: Path) -> Experiment:
    """Return the experiment with the targets in the study's folder; raises `StudyError`."""
    if experiment.distillation is None:
        return experiment
    targets = stored_targets(experiment, folder)
    if targets is None:
        raise StudyError(
            f"{folder / TEACHER_FOLDER} lacks what the teacher of this study says: run the study's "
            "command again, or copy that folder from the machine where it was run"
        )
    return replace(experiment, targets=targets)


def with_teacher(
    experiment: Experiment,
    full: Callable[[], Entrant],
    folder: Path,
    executor: Executor,
    watch: Watch,
) -> Experiment:
    """Return the experiment with its teacher's targets, which are computed where they are missing.

    `full` returns the full model as it enters the comparison; its runs on the comparison's seeds
    are recorded there. Raises `StudyError` where one fails.
    """
    if experiment.distillation is None:
        return experiment
    targets = stored_targets(experiment, folder)
    if targets is None:
        if experiment.teaching.classifier is not None:
            _classifier_targets(experiment, folder)
        else:
            _train_teachers(experiment, full(), folder, executor, watch)
    return with_stored_teacher(experiment, folder)


def _files(experiment: Experiment) -> dict[str, str]:
    """Return the file of each teacher with what tells it from all others."""
    settings = experiment.distillation
    assert settings is not None, "there is a teacher"
    common = (
        experiment.model,
        experiment.splits.fingerprint,
        experiment.tokens,
        settings.teacher,
        settings.unlabelled,
        experiment.full,
        experiment.learning_rates,
    )
    if experiment.teaching.classifier is not None:
        return {"given.safetensors": _hash((*common, settings.kind == "hidden"))}
    seeds = experiment.config.teacher_seeds
    return {
        _file_name(seed): _hash((*common, seed, _has_states(experiment, seed))) for seed in seeds
    }


def _file_name(seed: int) -> str:
    return f"seed-{seed}.safetensors"


def _has_states(experiment: Experiment, seed: int) -> bool:
    """Return whether the states of this seed's model are learned: those of the first seed."""
    settings = experiment.distillation
    is_hidden = settings is not None and settings.kind == "hidden"
    return is_hidden and seed == experiment.config.teacher_seeds[0]


def _hash(identity: object) -> str:
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _train_teachers(
    experiment: Experiment,
    full: Entrant,
    folder: Path,
    executor: Executor,
    watch: Watch,
) -> None:
    """Train the full model on the comparison's seeds, with records, and store its targets."""
    evaluator, layout = experiment.evaluator(full.budget), Layout.full(experiment.depth)
    rows, test = experiment.inputs.with_unlabelled, experiment.inputs.test
    labelled, files = len(experiment.inputs.train), _files(experiment)

    def begin(seed: int, checkpoint: CheckpointFile) -> Callable[[], EntrantRun]:
        wait = executor.start(
            _train_and_teach,
            evaluator,
            (layout, seed, checkpoint),
            test,
            rows,
            labelled,
            _has_states(experiment, seed),
        )
        path = folder / TEACHER_FOLDER / _file_name(seed)

        def result() -> EntrantRun:
            run, targets = wait()
            targets.write(path, files[path.name])
            return run

        return result

    seeds, conditions = experiment.config.teacher_seeds, experiment.conditions
    runs = comparison_runs(experiment.test, conditions, folder / RECORDS_FILE, watch)
    for record in runs.finish([(replace(full, begin=begin), seed) for seed in seeds]):
        if record.state == "failed":
            raise StudyError(
                f"the teacher (the full model) failed with seed {record.seed}: {record.reason}"
            )
    lacking = [seed for seed in seeds if _read(experiment, folder, _file_name(seed)) is None]
    # Their runs were recorded without what they say of the train rows, by a study without a
    # teacher, say.
    checkpoints = [checkpoint_file(folder, ("teacher", seed)) for seed in lacking]
    again = [begin(seed, file) for seed, file in zip(lacking, checkpoints, strict=True)]
    for wait, file in zip(again, checkpoints, strict=True):
        wait()
        file.remove()


def _train_and_teach(
    evaluator: LayoutEvaluator,
    run: tuple[Layout, int, CheckpointFile],
    test: EncodedSplit,
    rows: EncodedSplit,
    labelled: int,
    with_states: bool,
) -> tuple[EntrantRun, TeacherTargets]:
    """Train the full model and predict the test rows, and what it says of `rows`."""
    layout, seed, checkpoint = run
    trained = evaluator.train(layout, seed, checkpoint=checkpoint)
    targets = predict_targets(
        trained.model, rows, labelled, with_states, evaluator.device, evaluator.budget.batch
    )
    return predict_test(evaluator, trained, test), targets


def _classifier_targets(experiment: Experiment, folder: Path) -> None:
    """Store what the user's classifier says of the rows."""
    files, settings = experiment.teaching.classifier, experiment.distillation
    assert files is not None, "a classifier was named"
    assert settings is not None, "there is a teacher"
    with_states, device = settings.kind == "hidden", experiment.device
    model: Any = load_trained(files)
    train, texts = experiment.splits.train, experiment.teaching.unlabelled
    rows = train
    if texts:  # of which a task of two texts has none
        others = unlabelled_rows(texts, train)
        rows = replace(train, texts=train.texts + others.texts, labels=train.labels + others.labels)
    tokenizer = load_tokenizer(files)
    encoded = encode(rows, tokenizer, max_input_length(files, experiment.tokens))
    targets = predict_targets(
        model.to(device), encoded, len(train), with_states, device, experiment.full.batch
    )
    names, known = experiment.splits.names, trained_labels(files)
    order = [0] if len(names) == 1 else [known.index(name) for name in names]
    targets = replace(targets, logits=targets.logits[..., order].copy())
    [(name, identity)] = _files(experiment).items()
    targets.write(folder / TEACHER_FOLDER / name, identity)
