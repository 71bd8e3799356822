"""Found, best strategy and full looked at closely: by class, and the texts that one has wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.reporting.html.components import (
    Confusion,
    EntrantErrors,
    ErrorExample,
    Errors,
    Matrices,
    Part,
    Plot,
    Section,
    Text,
)
from autoprune.reporting.html.search import _MARKS
from autoprune.reporting.plot_style import GRID, apply_style, short_label
from autoprune.reporting.tables import Table, table_line
from autoprune.tasks.task import TestSplit


@dataclass(frozen=True, slots=True)
class SeedPredictions:
    """What one entrant predicted for the cleaned test rows: label indices, (seeds, rows)."""

    origin: str
    labels: NDArray[np.int64]


def errors_by_class(studied: FinishedStudy) -> list[SeedPredictions]:
    """Return what found, the best fixed strategy and the full model said, each layout once.

    Of equal layouts the first is taken; those that were left out are missing.
    """
    comparison = studied.comparison
    origins = [comparison.subject.origin, comparison.reference, "full"]
    layouts = {row.origin: row.layout for row in comparison.rows if row.origin in origins}
    once = {layouts[origin]: origin for origin in reversed(origins) if origin in layouts}
    kept = np.array(studied.test.kept)
    return [
        SeedPredictions(
            origin,
            np.array([run.predictions for run in entrant_runs(studied, origin).values()])[:, kept],
        )
        for origin in dict.fromkeys(origins)
        if origin in once.values()
    ]


def true_labels(studied: FinishedStudy) -> NDArray[np.int64]:
    """Return the labels of the cleaned test rows, (rows,)."""
    labels: NDArray[np.int64] = np.array(studied.test.rows.labels)[np.array(studied.test.kept)]
    return labels


MAX_CLASSES = 30  # classes of a confusion matrix; the most frequent ones where there are more


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One entrant by class: `f1` (classes,), and `shares` (classes, classes).

    `shares[i, j]` is the share of class i's rows that it took for class j; both over all seeds.
    """

    origin: str
    f1: NDArray[np.float64]
    shares: NDArray[np.float64]


def class_scores(said: SeedPredictions, truth: NDArray[np.int64], count: int) -> ClassScores:
    """Return F1 and confusions of `count` classes, F1 as the mean over seeds."""
    counts = np.zeros((len(said.labels), count, count))  # (seeds, true, predicted)
    for seed, predicted in enumerate(said.labels):
        np.add.at(counts[seed], (truth, predicted), 1)
    right = counts.diagonal(axis1=1, axis2=2)  # (seeds, classes)
    f1 = 2 * right / np.maximum(counts.sum(1) + counts.sum(2), 1)
    total = counts.sum(0)
    return ClassScores(said.origin, f1.mean(0), total / np.maximum(total.sum(1, keepdims=True), 1))


def class_sizes(truth: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many rows each class has, (classes,)."""
    return np.bincount(truth, minlength=count)


def confusion_matrix(one: ClassScores, names: Sequence[str], rows: NDArray[np.int64]) -> Confusion:
    """Return the matrix to draw: all classes, or the `MAX_CLASSES` most frequent ones."""
    shown = np.sort(np.argsort(-rows, kind="stable")[:MAX_CLASSES])
    return Confusion(
        origin=one.origin,
        names=tuple(names[i] for i in shown),
        rows=tuple(int(rows[i]) for i in shown),
        shares=tuple(tuple(map(float, one.shares[i, shown])) for i in shown),
    )


def f1_table(found: Sequence[ClassScores], names: Sequence[str], rows: NDArray[np.int64]) -> Table:
    """Return F1 of each class in %, in the order of the labels; none for a class without rows."""
    header = ("class", "test rows", *(f"F1 of {one.origin}, %" for one in found))
    return Table(
        "F1 by class",
        header,
        tuple(
            (name, str(rows[i]), *(f"{100 * one.f1[i]:.1f}" if rows[i] else "" for one in found))
            for i, name in enumerate(names)
        ),
    )


MAX_TEXTS = 12  # texts for each entrant

MAX_TEXT = 400  # characters of a text


def entrant_errors(
    everyone: Sequence[SeedPredictions],
    truth: NDArray[np.int64],
    test: TestSplit,
    names: Sequence[str],
) -> list[EntrantErrors]:
    """Return for each entrant the rows that it alone has wrong in more than half of the seeds.

    The clearest come first: wrong in most seeds, and right with the others in most.
    """
    misses = [(said.labels != truth).sum(0) for said in everyone]  # (rows,) each
    texts = _texts(test)
    return [_apart(i, everyone, misses, truth, texts, names) for i in range(len(everyone))]


def _apart(
    index: int,
    everyone: Sequence[SeedPredictions],
    misses: Sequence[NDArray[np.int64]],
    truth: NDArray[np.int64],
    texts: Sequence[str],
    names: Sequence[str],
) -> EntrantErrors:
    said, wrong = everyone[index], misses[index]
    seeds = len(said.labels)
    others = np.array([miss for i, miss in enumerate(misses) if i != index])  # (others, rows)
    alone = (2 * wrong > seeds) & (2 * others <= seeds).all(0)
    rows = np.flatnonzero(alone)
    clearest = rows[np.argsort(others[:, rows].sum(0) - wrong[rows], kind="stable")][:MAX_TEXTS]
    errors = tuple(
        ErrorExample(
            text=texts[row],
            label=names[truth[row]],
            taken=names[_most(said.labels[:, row], int(truth[row]))],
            wrong=int(wrong[row]),
            seeds=seeds,
        )
        for row in clearest
    )
    return EntrantErrors(said.origin, len(rows), errors)


def _most(predicted: NDArray[np.int64], label: int) -> int:
    """Return the wrong label predicted most often."""
    return int(np.bincount(predicted[predicted != label]).argmax())


def _texts(test: TestSplit) -> list[str]:
    """Return the texts of the cleaned rows, second texts behind a stroke, cut where too long."""
    seconds = test.rows.pairs or ("",) * len(test.rows)
    whole = [
        f"{table_line(text)} | {table_line(second)}" if second else table_line(text)
        for text, second, kept in zip(test.rows.texts, seconds, test.kept, strict=True)
        if kept
    ]
    return [text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…" for text in whole]


def f1_by_class_plot(
    found: Sequence[ClassScores], names: Sequence[str], rows: NDArray[np.int64]
) -> go.Figure:
    """Draw F1 of each class in %, one mark for each entrant, the best class on top.

    Classes without test rows are left out.
    """
    order = sorted(np.flatnonzero(rows).tolist(), key=lambda i: -found[0].f1[i])
    places = np.arange(len(order))
    figure = go.Figure()
    for place in places[1:].tolist():
        edge = {"color": GRID, "width": 1}
        figure.add_hline(y=place - 0.5, line=edge, layer="below")
    for nth, (one, (colour, symbol)) in enumerate(zip(found, _MARKS, strict=False)):
        figure.add_scatter(
            x=[100 * float(one.f1[i]) for i in order],
            y=(places + 0.24 * (nth - (len(found) - 1) / 2)).tolist(),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=short_label(one.origin),
            hovertemplate="%{x:.1f} %",
        )
    figure = apply_style(figure, 90 + 30 * len(order), "F1, %, mean over the seeds", "")
    figure.update_yaxes(
        tickmode="array",
        tickvals=places.tolist(),
        ticktext=[short_label(names[i]) for i in order],
        range=[len(order) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=True)
    return figure


def classes_section(studied: FinishedStudy, id: str) -> Section:
    """Return F1 by class and the confusion matrices."""
    names, labels = studied.setting.labels, true_labels(studied)
    rows = class_sizes(labels, len(names))
    found = [class_scores(said, labels, len(names)) for said in errors_by_class(studied)]
    plot = Plot(
        f"{id}-f1",
        "F1 by class",
        f1_by_class_plot(found, names, rows),
        f1_table(found, names, rows),
    )
    parts: list[Part] = [
        plot,
        Text(
            "Below, for what the rows of each class were taken: a row of the table is a true "
            "class, a column what was said, figures are per cent of the class's test rows over "
            "all seeds, shares below half a per cent are left blank."
        ),
        Matrices(tuple(confusion_matrix(one, names, rows) for one in found)),
    ]
    if len(names) > MAX_CLASSES:
        parts.append(Text(f"Shown are the {MAX_CLASSES} most frequent of {len(names)} classes."))
    return Section(f"{id}-classes", "Class by class", tuple(parts))


def errors_section(studied: FinishedStudy, id: str) -> Section:
    """Return the texts that only one of the entrants has wrong, or say why there are none."""
    title, everyone = "Errors that only one makes", errors_by_class(studied)
    if not studied.texts:
        why = "The texts are left out: the task's data were not at hand when this was written."
        return Section(f"{id}-errors", title, (Text(why),))
    if len(everyone) < 2:
        return Section(f"{id}-errors", title, (Text("There is one entrant only."),))
    groups = entrant_errors(everyone, true_labels(studied), studied.test, studied.setting.labels)
    told = Text(
        "Test texts that one entrant has wrong in more than half of its seeds while the others "
        f"have them right; at most {MAX_TEXTS} each, the clearest first."
    )
    return Section(f"{id}-errors", title, (told, Errors(tuple(groups))))
