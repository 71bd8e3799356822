"""Error analysis: F1 and confusions by class, and the texts that only one entrant has wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.reporting.classes import (
    CLASS_TITLES,
    ClassScores,
    SeedPredictions,
    f1_table,
    ranges_table,
    score_classes,
    seed_predictions,
    true_labels,
)
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
from autoprune.tasks.task import TestSplit, words_of
from autoprune.training.metrics import Labels, find_entities

MAX_CLASSES = 30  # classes of a confusion matrix; the most frequent ones where there are more

MAX_EXAMPLES = 12  # texts for each entrant

MAX_CHARACTERS = 400  # of a text

_MARKS = [(TEAL, "circle"), (OCHRE, "diamond"), (SLATE, "square")]


def classes_section(study: FinishedStudy) -> ReportSection:
    """Return the quality by class, label, entity type or range of numbers, and confusions."""
    kind, labels = study.setting.problem_type, true_labels(study)
    entrants, title = seed_predictions(study), CLASS_TITLES[kind]
    if kind == "regression":
        table = ranges_table(study.setting.labels[0], labels, entrants)
        return ReportSection("classes", title, (TableWithBars(table),))
    results = score_classes(kind, study.setting.labels, labels, entrants)
    names, sizes, scores = results.names, results.sizes, results.scores
    f1 = f1_table(scores, names, sizes)
    parts: tuple[object, ...] = (
        Text(largest_losses(scores, names, sizes)),
        Plot("f1", f1.caption, f1_by_class_plot(scores, names, sizes), f1),
    )
    if kind == PROBLEM_TYPE_NAMES[0]:
        limit = (
            f" Shown are the {MAX_CLASSES} most frequent of {len(names)} classes."
            if len(names) > MAX_CLASSES
            else ""
        )
        explanation = (
            "The confusion matrices have a row for each true class and a column for each predicted "
            "class: per cent of the class's test rows over all seeds. Shares below half a per cent "
            f"are left blank.{limit}"
        )
        matrices = ConfusionMatrices(tuple(confusion_matrix(one, names, sizes) for one in scores))
        parts = (*parts, Text(explanation), matrices)
    return ReportSection("classes", title, parts)


def largest_losses(
    scores: Sequence[ClassScores], names: Sequence[str], sizes: NDArray[np.int64]
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
    texts, kept = _cleaned_texts(test), np.flatnonzero(test.kept)
    groups = []
    for i, entrant in enumerate(entrants):
        seeds, others = len(entrant.labels), np.delete(wrong, i, axis=0)
        rows = np.flatnonzero((2 * wrong[i] > seeds) & (2 * others <= seeds).all(0))
        order = np.argsort(others[:, rows].sum(0) - wrong[i, rows], kind="stable")
        examples = []
        for row in rows[order][:MAX_EXAMPLES]:
            predicted = entrant.labels[_are_wrong(entrant.labels, labels)[:, row], row]
            words = [single_line(word) for word in words_of(test.rows.texts[kept[row]])]
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
