"""Error analysis: F1 and confusions by class, and the texts that only one entrant has wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

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
from autoprune.reporting.sections import ReportSection, Text
from autoprune.reporting.tables import Table
from autoprune.tasks.task import TestSplit

MAX_CLASSES = 30  # classes of a confusion matrix; the most frequent ones where there are more

MAX_EXAMPLES = 12  # texts for each entrant

MAX_CHARACTERS = 400  # of a text

_MARKS = [(TEAL, "circle"), (OCHRE, "diamond"), (SLATE, "square")]


def classes_section(study: FinishedStudy) -> ReportSection:
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
        Plot("f1", table.caption, f1_by_class_plot(scores, names, sizes), table),
        Text(explanation),
        ConfusionMatrices(tuple(confusion_matrix(one, names, sizes) for one in scores)),
    )
    return ReportSection("classes", "Class by class", parts)


def errors_section(study: FinishedStudy) -> ReportSection:
    """Return the texts that only one of the entrants has wrong, or say why there are none."""
    title, entrants = "Errors that only one model makes", seed_predictions(study)
    if not study.texts:
        reason = "The texts are left out: the task's data could not be read for this report."
        return ReportSection("errors", title, (Text(reason),))
    if len(entrants) < 2:
        return ReportSection("errors", title, (Text("There is only one model to look at."),))
    groups = entrant_errors(entrants, true_labels(study), study.test, study.setting.labels)
    explanation = Text(
        "Test texts that one model has wrong in more than half of its seeds while the others "
        f"have them right; at most {MAX_EXAMPLES} for each model, the clearest first."
    )
    return ReportSection("errors", title, (explanation, Errors(tuple(groups))))


@dataclass(frozen=True, slots=True)
class SeedPredictions:
    """What one entrant predicted for the cleaned test rows: label indices, (seeds, rows)."""

    origin: str
    labels: NDArray[np.int64]


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
            np.array([run.predictions for run in entrant_runs(study, origin).values()])[:, kept],
        )
        for origin in first_with.values()
    ]


def true_labels(study: FinishedStudy) -> NDArray[np.int64]:
    """Return the labels of the cleaned test rows, (rows,)."""
    labels: NDArray[np.int64] = np.array(study.test.rows.labels)[np.array(study.test.kept)]
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
    labels: NDArray[np.int64],
    test: TestSplit,
    names: Sequence[str],
) -> list[EntrantErrors]:
    """Return for each entrant the rows that it alone has wrong in more than half of the seeds.

    The clearest come first: wrong in most seeds, and right with the others in most.
    """
    # (entrants, rows)
    wrong = np.array([(entrant.labels != labels).sum(0) for entrant in entrants])
    texts = _cleaned_texts(test)
    groups = []
    for i, entrant in enumerate(entrants):
        seeds, others = len(entrant.labels), np.delete(wrong, i, axis=0)
        rows = np.flatnonzero((2 * wrong[i] > seeds) & (2 * others <= seeds).all(0))
        order = np.argsort(others[:, rows].sum(0) - wrong[i, rows], kind="stable")
        examples = tuple(
            ErrorExample(
                text=texts[row],
                label=names[labels[row]],
                predicted=names[_usual_error(entrant.labels[:, row], int(labels[row]))],
                wrong=int(wrong[i, row]),
                seeds=seeds,
            )
            for row in rows[order][:MAX_EXAMPLES]
        )
        groups.append(EntrantErrors(entrant.origin, len(rows), examples))
    return groups


def _usual_error(predicted: NDArray[np.int64], label: int) -> int:
    """Return the wrong label predicted most often."""
    return int(np.bincount(predicted[predicted != label]).argmax())


def _cleaned_texts(test: TestSplit) -> list[str]:
    """Return the texts of the cleaned rows, second texts after a bar, cut where too long."""
    seconds = test.rows.pairs or ("",) * len(test.rows)
    texts = [
        f"{single_line(first)} | {single_line(second)}" if second else single_line(first)
        for first, second, kept in zip(test.rows.texts, seconds, test.kept, strict=True)
        if kept
    ]
    return [text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…" for text in texts]
