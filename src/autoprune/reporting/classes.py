"""Classes: F1 and confusions by class, label or entity type, errors by range of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.reporting.tables import Table
from autoprune.tasks.task import label_array
from autoprune.training.metrics import NO_WORD, Labels, entity_hits, entity_types, find_entities

RANGES = 5  # of equal numbers of test rows, by their label

CLASS_TITLES = {
    "single_label_classification": "Class by class",
    "multi_label_classification": "Label by label",
    "regression": "Range by range",
    "token_classification": "Entity type by entity type",
}
"""By the name of a problem type."""


@dataclass(frozen=True, slots=True)
class SeedPredictions:
    """What one entrant predicted for the cleaned test rows: (seeds, rows), or as `Labels`."""

    origin: str
    labels: Labels


def seed_predictions(study: FinishedStudy) -> list[SeedPredictions]:
    """Return the predictions of found, the best fixed strategy and the full model.

    Of entrants with equal layouts only the first is there; those that were left out are missing.
    """
    comparison, kept = study.comparison, np.array(study.test.kept)
    entered = {row.origin: row.layout for row in comparison.rows}
    first_with: dict[object, str] = {}
    for origin in (comparison.subject.origin, comparison.reference, "full"):
        if origin in entered:
            first_with.setdefault(entered[origin], origin)
    return [
        SeedPredictions(
            origin,
            np.stack(
                [label_array(run.predictions) for run in entrant_runs(study, origin).values()]
            )[:, kept],
        )
        for origin in first_with.values()
    ]


def true_labels(study: FinishedStudy) -> Labels:
    """Return the labels of the cleaned test rows, (rows,) or as `Labels`."""
    labels: Labels = label_array(study.test.rows.labels)[np.array(study.test.kept)]
    return labels


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One entrant by class: `f1` (classes,), and `shares` (classes, classes).

    `shares[i, j]` is the share of the rows of class i predicted as class j; both over all seeds.
    """

    origin: str
    f1: NDArray[np.float64]
    shares: NDArray[np.float64]


def class_scores(entrant: SeedPredictions, labels: NDArray[np.int64], classes: int) -> ClassScores:
    """Return F1, as the mean over seeds, and confusions of `classes` classes."""
    counts = np.zeros((len(entrant.labels), classes, classes))  # (seeds, true, predicted)
    for seed, predicted in enumerate(entrant.labels):
        np.add.at(counts[seed], (labels, predicted), 1)
    right = counts.diagonal(axis1=1, axis2=2)  # (seeds, classes)
    f1 = 2 * right / np.maximum(counts.sum(1) + counts.sum(2), 1)
    total = counts.sum(0)
    shares = total / np.maximum(total.sum(1, keepdims=True), 1)
    return ClassScores(entrant.origin, f1.mean(0), shares)


@dataclass(frozen=True, slots=True)
class ClassResults:
    """Entrants by class: the classes' names, how many test rows each has, and the scores.

    Of tags the classes are the types of entities, and the rows the entities.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    scores: tuple[ClassScores, ...]


def score_classes(
    kind: str, names: Sequence[str], labels: Labels, entrants: Sequence[SeedPredictions]
) -> ClassResults:
    """Score entrants by class, label or type of entity; `kind` is no regression.

    `labels` are those of the cleaned test rows, `names` the label names in index order.
    """
    if kind == "multi_label_classification":
        true, scores = labels == 1, []
        for entrant in entrants:
            found = entrant.labels == 1  # (seeds, rows, labels)
            f1 = 2 * (found & true).sum(1) / np.maximum(1, found.sum(1) + true.sum(0))
            scores.append(ClassScores(entrant.origin, f1.mean(0), np.zeros((0, 0))))
        return ClassResults(tuple(names), true.sum(0), tuple(scores))
    if kind == "token_classification":
        return _score_entities(tuple(name[2:] for name in names[1::2]), labels, entrants)
    return ClassResults(
        tuple(names),
        np.bincount(labels, minlength=len(names)),
        tuple(class_scores(entrant, labels, len(names)) for entrant in entrants),
    )


def _score_entities(
    types: tuple[str, ...], labels: Labels, entrants: Sequence[SeedPredictions]
) -> ClassResults:
    def count(tags: Labels, begins: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(entity_types(tags)[begins], minlength=len(types))

    scores, sizes = [], count(labels, find_entities(labels)[0])
    for entrant in entrants:
        f1 = []
        for predicted in entrant.labels:
            hits = count(labels, entity_hits(labels, predicted))
            found = np.where(labels == NO_WORD, 0, predicted)
            of = sizes + count(found, find_entities(found)[0])
            f1.append(2 * hits / np.maximum(1, of))
        scores.append(ClassScores(entrant.origin, np.mean(f1, axis=0), np.zeros((0, 0))))
    return ClassResults(types, sizes, tuple(scores))


def f1_table(
    scores: Sequence[ClassScores], names: Sequence[str], sizes: NDArray[np.int64]
) -> Table:
    """Return F1 of each class in %, in the order of the labels; none for a class without rows."""
    header = ("class", "test rows", *(f"F1 of {entrant.origin}, %" for entrant in scores))
    rows = tuple(
        (name, str(size), *(f"{100 * entrant.f1[i]:.1f}" if size else "" for entrant in scores))
        for i, (name, size) in enumerate(zip(names, sizes, strict=True))
    )
    return Table("F1 by class", header, rows)


def ranges_table(name: str, labels: Labels, entrants: Sequence[SeedPredictions]) -> Table:
    """Return the mean absolute error in each fifth of the test rows by their number."""
    order = np.array_split(np.argsort(labels, kind="stable"), RANGES)
    parts = [rows for rows in order if len(rows)]
    errors = [np.abs(entrant.labels - labels).mean(0) for entrant in entrants]  # (rows,) each
    header = (
        name,
        "test rows",
        *(f"mean absolute error of {entrant.origin}" for entrant in entrants),
    )
    rows = tuple(
        (
            f"{labels[part].min():g} to {labels[part].max():g}",
            str(len(part)),
            *(f"{error[part].mean():.3f}" for error in errors),
        )
        for part in parts
    )
    return Table("Mean absolute error by range", header, rows)


def confusion_table(
    scores: ClassScores, names: Sequence[str], sizes: NDArray[np.int64], most: int
) -> Table:
    """Return how many test rows of each class are predicted as which, of one seed.

    Of more than `most` classes the most frequent ones are shown, and all others in one column.
    """
    shown = np.sort(np.argsort(-sizes, kind="stable")[:most])
    counts = np.rint(scores.shares[shown] * sizes[shown, None]).astype(np.int64)
    others = [counts.sum(1) - counts[:, shown].sum(1)] if len(names) > most else []
    cells = np.column_stack([counts[:, shown], *others])
    header = ("true \\ predicted", *(names[i] for i in shown), *["others"] * len(others))
    rows = tuple((names[i], *map(str, row)) for i, row in zip(shown, cells.tolist(), strict=True))
    return Table("Confusion matrix", header, rows)
