"""Error analysis: F1 and confusions by class, and the texts that only one entrant has wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.reporting.html.components import (
    ConfusionMatrices,
    ConfusionMatrix,
    EntrantErrors,
    ErrorExample,
    Errors,
    Plot,
)
from autoprune.reporting.markdown import single_line
from autoprune.reporting.plot_style import (
    GRID,
    OCHRE,
    SLATE,
    TEAL,
    apply_style,
    label_rows,
    short_label,
)
from autoprune.reporting.sections import ReportSection, TableWithBars, Text
from autoprune.reporting.tables import Table
from autoprune.tasks.task import TestSplit, label_array
from autoprune.training.metrics import NO_WORD, Labels, entity_hits, entity_types, find_entities

MAX_CLASSES = 30  # classes of a confusion matrix; the most frequent ones where there are more

MAX_EXAMPLES = 12  # texts for each entrant

MAX_CHARACTERS = 400  # of a text

_MARKS = [(TEAL, "circle"), (OCHRE, "diamond"), (SLATE, "square")]


def classes_section(study: FinishedStudy) -> ReportSection:
    """Return the quality by class, label, entity type or range of numbers, and confusions."""
    return SECTIONS_BY_CLASS[study.setting.problem_type](study)


def _classes(study: FinishedStudy) -> ReportSection:
    """Return F1 by class and the confusion matrices."""
    names, labels = study.setting.labels, true_labels(study)
    sizes = np.bincount(labels, minlength=len(names))
    scores = [class_scores(entrant, labels, len(names)) for entrant in seed_predictions(study)]
    limit = (
        f" Shown are the {MAX_CLASSES} most frequent of {len(names)} classes."
        if len(names) > MAX_CLASSES
        else ""
    )
    explanation = (
        "The confusion matrices have a row for each true class and a column for each predicted "
        "class: per cent of the class's test rows over all seeds. Shares below half a per cent are "
        f"left blank.{limit}"
    )
    table = f1_table(scores, names, sizes)
    parts = (
        Text(largest_losses(scores, names, sizes)),
        Plot("f1", table.caption, f1_by_class_plot(scores, names, sizes), table),
        Text(explanation),
        ConfusionMatrices(tuple(confusion_matrix(one, names, sizes) for one in scores)),
    )
    return ReportSection("classes", "Class by class", parts)


def _labels(study: FinishedStudy) -> ReportSection:
    """Return F1 of each label, where a row may have several."""
    return _f1_section(study, study.setting.labels, "Label by label", lambda tags: tags == 1)


def _entities(study: FinishedStudy) -> ReportSection:
    """Return F1 of each entity type."""
    names = [name[2:] for name in study.setting.labels[1::2]]
    labels = true_labels(study)
    scores, sizes = [], _count_types(labels, find_entities(labels)[0], len(names))
    for entrant in seed_predictions(study):
        f1 = []
        for predicted in entrant.labels:
            hits = _count_types(labels, entity_hits(labels, predicted), len(names))
            found = np.where(labels == NO_WORD, 0, predicted)
            of = sizes + _count_types(found, find_entities(found)[0], len(names))
            f1.append(2 * hits / np.maximum(1, of))
        scores.append(ClassScores(entrant.origin, np.mean(f1, axis=0), np.zeros((0, 0))))
    return _f1_parts(scores, names, sizes, "Entity type by entity type")


def _count_types(
    tags: NDArray[np.int64], begins: NDArray[np.bool_], types: int
) -> NDArray[np.int64]:
    return np.bincount(entity_types(tags)[begins], minlength=types)


def _f1_section(
    study: FinishedStudy,
    names: Sequence[str],
    title: str,
    has: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
) -> ReportSection:
    true = has(true_labels(study))
    scores = []
    for entrant in seed_predictions(study):
        found = has(entrant.labels)  # (seeds, rows, labels)
        f1 = 2 * (found & true).sum(1) / np.maximum(1, found.sum(1) + true.sum(0))
        scores.append(ClassScores(entrant.origin, f1.mean(0), np.zeros((0, 0))))
    return _f1_parts(scores, names, true.sum(0), title)


def _f1_parts(
    scores: Sequence["ClassScores"],
    names: Sequence[str],
    sizes: NDArray[np.int64],
    title: str,
) -> ReportSection:
    table = f1_table(scores, names, sizes)
    plot = Plot("f1", table.caption, f1_by_class_plot(scores, names, sizes), table)
    return ReportSection("classes", title, (Text(largest_losses(scores, names, sizes)), plot))


RANGES = 5  # of equal numbers of test rows, by their label


def _ranges(study: FinishedStudy) -> ReportSection:
    """Return the mean absolute error in each fifth of the test rows by their number."""
    labels = true_labels(study)
    order = np.array_split(np.argsort(labels, kind="stable"), RANGES)
    parts = [rows for rows in order if len(rows)]
    entrants = seed_predictions(study)
    errors = [np.abs(entrant.labels - labels).mean(0) for entrant in entrants]  # (rows,) each
    header = (
        study.setting.labels[0],
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
    table = Table("Mean absolute error by range", header, rows)
    return ReportSection("classes", "Range by range", (TableWithBars(table),))


SECTIONS_BY_CLASS: dict[str, Callable[[FinishedStudy], ReportSection]] = {
    "single_label_classification": _classes,
    "multi_label_classification": _labels,
    "regression": _ranges,
    "token_classification": _entities,
}
"""By the name of a problem type."""


def largest_losses(
    scores: Sequence["ClassScores"], names: Sequence[str], sizes: NDArray[np.int64]
) -> str:
    """Return which classes the cut costs most: F1 of the first entrant against the full model's."""
    by_origin = {entrant.origin: entrant.f1 for entrant in scores}
    if "full" not in by_origin or len(scores) < 2:
        return "F1 of each class of the test rows, a mean over the seeds."
    first = scores[0]
    gaps = [(float(by_origin["full"][i] - first.f1[i]), i) for i in np.flatnonzero(sizes).tolist()]
    worst = [(gap, i) for gap, i in sorted(gaps, reverse=True)[:3] if gap > 0]
    if not worst:
        return f"{first.origin} loses F1 in no class against the full model."
    listed = ", ".join(
        f"{names[i]} ({100 * first.f1[i]:.1f} against {100 * by_origin['full'][i]:.1f} %)"
        for _, i in worst
    )
    return f"Against the full model, {first.origin} loses most F1 in {listed}."


def errors_section(study: FinishedStudy) -> ReportSection:
    """Return the texts that only one of the entrants has wrong, or say why there are none."""
    title, entrants = "Errors that only one model makes", seed_predictions(study)
    if not study.texts:
        reason = "The texts are left out: the task's data could not be read for this report."
        return ReportSection("errors", title, (Text(reason),))
    if len(entrants) < 2:
        return ReportSection("errors", title, (Text("There is only one model to look at."),))
    setting = study.setting
    labels = true_labels(study)
    groups = entrant_errors(entrants, labels, study.test, setting.labels, setting.problem_type)
    explanation = Text(
        "Test texts that one model has wrong in more than half of its seeds while the others "
        f"have them right; at most {MAX_EXAMPLES} for each model, the clearest first."
    )
    return ReportSection("errors", title, (explanation, Errors(tuple(groups))))


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


def confusion_matrix(
    scores: ClassScores, names: Sequence[str], sizes: NDArray[np.int64]
) -> ConfusionMatrix:
    """Return the matrix to draw: all classes, or the `MAX_CLASSES` most frequent ones."""
    shown = np.sort(np.argsort(-sizes, kind="stable")[:MAX_CLASSES])
    return ConfusionMatrix(
        origin=scores.origin,
        names=tuple(names[i] for i in shown),
        rows=tuple(int(sizes[i]) for i in shown),
        shares=tuple(tuple(map(float, scores.shares[i, shown])) for i in shown),
    )


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


def f1_by_class_plot(
    scores: Sequence[ClassScores], names: Sequence[str], sizes: NDArray[np.int64]
) -> go.Figure:
    """Draw F1 of each class in %, one mark for each entrant, the best class on top.

    Classes without test rows are left out.
    """
    order = sorted(np.flatnonzero(sizes).tolist(), key=lambda i: -scores[0].f1[i])
    heights = np.arange(len(order))
    figure = go.Figure()
    for height in heights[1:].tolist():
        figure.add_hline(y=height - 0.5, line={"color": GRID, "width": 1}, layer="below")
    for nth, (entrant, (color, symbol)) in enumerate(zip(scores, _MARKS, strict=False)):
        figure.add_scatter(
            x=[100 * float(entrant.f1[i]) for i in order],
            y=(heights + 0.24 * (nth - (len(scores) - 1) / 2)).tolist(),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            name=short_label(entrant.origin),
            hovertemplate="%{x:.1f} %",
        )
    figure = apply_style(figure, 90 + 30 * len(order), "F1, %, mean over the seeds", "")
    label_rows(figure, [short_label(names[i]) for i in order])
    return figure.update_layout(showlegend=True)


def entrant_errors(
    entrants: Sequence[SeedPredictions],
    labels: Labels,
    test: TestSplit,
    names: Sequence[str],
    kind: str = PROBLEM_TYPE_NAMES[0],
) -> list[EntrantErrors]:
    """Return for each entrant the rows that it alone has wrong in more than half of the seeds.

    The clearest come first: wrong in most seeds, and right with the others in most. Of several
    labels or tags of a row one wrong is enough; a number is wrong where it is off by more than one
    standard deviation of the labels.
    """
    wrong = np.array([_are_wrong(entrant.labels, labels).sum(0) for entrant in entrants])
    texts = _cleaned_texts(test)
    groups = []
    for i, entrant in enumerate(entrants):
        seeds, others = len(entrant.labels), np.delete(wrong, i, axis=0)
        rows = np.flatnonzero((2 * wrong[i] > seeds) & (2 * others <= seeds).all(0))
        order = np.argsort(others[:, rows].sum(0) - wrong[i, rows], kind="stable")
        examples = []
        for row in rows[order][:MAX_EXAMPLES]:
            predicted = entrant.labels[_are_wrong(entrant.labels, labels)[:, row], row]
            words = texts[row].split(" ")
            examples.append(
                ErrorExample(
                    text=texts[row],
                    label=_name_label(kind, labels[row], names, words),
                    predicted=_name_label(kind, _usual(predicted), names, words),
                    wrong=int(wrong[i, row]),
                    seeds=seeds,
                )
            )
        groups.append(EntrantErrors(entrant.origin, len(rows), tuple(examples)))
    return groups


def _are_wrong(predicted: Labels, labels: Labels) -> NDArray[np.bool_]:
    """Return which predictions are wrong: (seeds, rows)."""
    if labels.dtype.kind == "f":
        return np.asarray(np.abs(predicted - labels) > labels.std(), dtype=np.bool_)
    differ: NDArray[np.bool_] = predicted != labels
    return differ if differ.ndim == 2 else np.asarray(differ.any(axis=-1))


def _usual(predicted: Labels) -> Any:
    """Return what is predicted most often of a row by several seeds; of numbers their mean."""
    if predicted.dtype.kind == "f":
        return predicted.mean()
    found, counts = np.unique(predicted, axis=0, return_counts=True)
    return found[counts.argmax()]


def _name_label(kind: str, label: Any, names: Sequence[str], words: Sequence[str]) -> str:
    """Return a label for a reader."""
    if kind == "regression":
        return f"{float(label):.2f}"
    if kind == "multi_label_classification":
        return ", ".join(names[i] for i in np.flatnonzero(label).tolist()) or "no label"
    if kind == "token_classification":
        begins, last = find_entities(label)
        found = [
            f"{' '.join(words[start : int(last[start]) + 1])}: {names[int(label[start])][2:]}"
            for start in np.flatnonzero(begins).tolist()
        ]
        return "; ".join(found) or "no entity"
    return names[int(label)]


def _cleaned_texts(test: TestSplit) -> list[str]:
    """Return the texts of the cleaned rows, second texts after a bar, cut where too long."""
    seconds = test.rows.pairs or ("",) * len(test.rows)
    texts = [
        f"{single_line(first)} | {single_line(second)}" if second else single_line(first)
        for first, second, kept in zip(test.rows.texts, seconds, test.kept, strict=True)
        if kept
    ]
    return [text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…" for text in texts]
