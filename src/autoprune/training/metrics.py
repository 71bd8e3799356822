"""Metrics: how predictions become a score, each metric made of sums over the rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autoprune.tasks.task import NO_LABEL

Labels = NDArray[Any]
"""Labels or predictions, with a first axis for the rows.

int64 (rows,): class numbers. int64 (rows, classes): 1 for each class of a row, else 0. float64
(rows,): numbers. int64 (rows, words): tag numbers, `NO_WORD` after a row's last word.
"""

NO_WORD = NO_LABEL

Sums = NDArray[Any]  # float64, or complex128 where a derivative is computed


@dataclass(frozen=True, slots=True)
class Score:
    """How good one trained candidate is on one split.

    `quality` is the task's metric, finite, greater is better; `accuracy` and `macro_f1` are in
    [0, 1], None where the problem type has no such metric; `loss` is the mean over the rows of the
    problem type's `row_losses`, finite and not negative; `seconds` is the training's wall time;
    `note` says what happened on the way (a batch halved for memory, say), mostly empty.
    """

    quality: float
    accuracy: float | None
    macro_f1: float | None
    loss: float
    split: str
    seed: int
    seconds: float
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("accuracy", "macro_f1"):
            value = getattr(self, name)
            assert value is None or 0.0 <= value <= 1.0, f"{name} is in [0, 1], got {value}"
        for name in ("quality", "loss"):
            value = getattr(self, name)
            assert math.isfinite(value), f"{name} is finite, got {value}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric whose value depends on the rows only through sums over them.

    `statistics(labels, predictions)` returns what each row adds to the sums, of shape (..., rows,
    k) for `labels` (rows,) and `predictions` (..., rows), or with one more axis each: see `Labels`.
    Predictions of one call get the same k columns. `value(sums)` makes the metric of sums (..., k),
    smooth wherever it is defined. It must take complex sums too, and must not change where every
    sum is doubled: the confidence interval needs its derivative, see
    `evaluation.statistics.row_contributions`.

    `bounds` are the least and greatest `quality`. With bounds, reports show it in %, and `unit`
    names a difference of 0.01; without, as it is and never negative, and `unit` a difference of 1.
    `points` is the unit in one word.
    """

    statistics: Callable[[Labels, Labels], NDArray[Any]]
    value: Callable[[Sums], Sums]
    unit: str
    greater_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)
    points: str = "points"

    @property
    def is_mean(self) -> bool:
        """Whether the metric is the mean over rows of its first statistic."""
        return self.value is row_mean

    @property
    def sign(self) -> int:
        """What makes greater better: 1, or -1 for an error."""
        return 1 if self.greater_is_better else -1

    @property
    def is_bounded(self) -> bool:
        """Whether 0.01 is the same share of what is possible for every task."""
        return math.isfinite(self.span)

    @property
    def span(self) -> float:
        """The greatest difference between two qualities."""
        return self.bounds[1] - self.bounds[0]

    def quality(self, labels: Labels, predictions: Labels) -> float:
        """Return the metric's value, negative for an error: greater is better. Both (rows,)."""
        sums = self.statistics(labels, predictions).sum(axis=-2, dtype=np.float64)
        return self.sign * float(self.value(sums))

    @property
    def title(self) -> str:
        """The metric's name in a sentence."""
        return self.unit.partition(" of ")[2]

    @property
    def scale(self) -> int:
        """What a difference of quality is multiplied by in reports."""
        return 100 if self.is_bounded else 1

    @property
    def digits(self) -> int:
        """The digits after the point in reports."""
        return 1 if self.is_bounded else 3

    @property
    def percent(self) -> str:
        """What follows a quality in reports."""
        return " %" if self.is_bounded else ""

    @property
    def note(self) -> str:
        """What a heading says of signed differences: those of an error are turned round."""
        return "" if self.greater_is_better else " (+ is better)"

    @property
    def sides(self) -> tuple[str, str]:
        """On which side of another number a worse one is, and a better one."""
        return ("below", "above") if self.greater_is_better else ("above", "below")

    def heading(self, name: str) -> str:
        """Write the heading of a column or an axis of qualities."""
        return f"{name}, {self.percent.strip() or self.title}"

    def shown(self, quality: float) -> float:
        """Return a quality as reports show it: in %, or an error as a positive number."""
        return self.sign * self.scale * quality + 0.0  # no -0.0

    def shown_interval(self, low: float, high: float) -> tuple[float, float]:
        """Return the ends of an interval of qualities as reports show them, the lower first."""
        low, high = (low, high)[:: self.sign]
        return self.shown(low), self.shown(high)

    def format_number(self, quality: float) -> str:
        """Write a quality without its unit."""
        return f"{self.shown(quality):.{self.digits}f}"

    def format(self, quality: float) -> str:
        """Write a quality.

        >>> METRICS["accuracy"].format(0.8125), METRICS["mse"].format(-1.1234)
        ('81.2 %', '1.123')
        """
        return f"{self.format_number(quality)}{self.percent}"

    def format_interval(self, low: float, high: float) -> str:
        """Write an interval of qualities.

        >>> METRICS["accuracy"].format_interval(0.8, 0.9), METRICS["mse"].format_interval(-2, -1)
        ('80.0 to 90.0', '1.000 to 2.000')
        """
        low, high = self.shown_interval(low, high)
        return f"{low:.{self.digits}f} to {high:.{self.digits}f}"

    def format_difference(self, difference: float) -> str:
        """Write a difference of qualities with its sign; above 0 is better, also of an error.

        >>> [METRICS["accuracy"].format_difference(gap) for gap in (0.0123, -0.5, -0.0001)]
        ['+1.2', '−50.0', '0.0']
        >>> METRICS["mse"].format_difference(0.0123)
        '+0.012'
        """
        rounded = round(difference * self.scale, self.digits)
        sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
        return f"{sign}{abs(rounded):.{self.digits}f}"

    def format_differences(self, low: float, high: float) -> str:
        """Write an interval of differences."""
        return f"{self.format_difference(low)} to {self.format_difference(high)}"

    def format_size(self, difference: float) -> str:
        """Write a difference without its sign."""
        return f"{abs(difference) * self.scale:.{self.digits}f}"

    def format_distance(self, difference: float) -> str:
        """Write on which side of another quality a quality is, and how far from it.

        >>> METRICS["accuracy"].format_distance(-0.02), METRICS["mse"].format_distance(-0.02)
        ('2.0 points below', '0.020 mse above')
        """
        return f"{self.format_size(difference)} {self.points} {self.sides[difference > 0]}"

    def threshold(self, points: float) -> float:
        """Return a threshold, which users give in hundredths, in the unit of differences."""
        return points / (100 / self.scale)


def row_mean(sums: Sums) -> Sums:
    """Return the mean of a statistic over the rows: columns are its sum and the rows' number."""
    return sums[..., 0] / sums[..., 1]


def _ratio(sums: Sums) -> Sums:
    """Return the first sum divided by the second, where the second is not one for each row."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1, sums[..., 1]))


def _correct(labels: Labels, predictions: Labels) -> NDArray[np.bool_]:
    """Return whether each row is predicted correctly, and 1: (..., rows, 2).

    Of several labels of a row all must be.
    """
    correct = predictions == labels
    if labels.ndim == 2:
        correct = correct.all(axis=-1)
    return np.stack([correct, np.ones_like(correct)], axis=-1)


def _class_counts(labels: Labels, predictions: Labels) -> NDArray[np.bool_]:
    """Return for each class whether it is a label, is predicted, both: (..., rows, 3 classes)."""
    if labels.ndim == 2:  # one column for each class
        predicted = predictions == 1
        labelled = np.broadcast_to(labels == 1, predicted.shape)
    else:
        classes = np.union1d(labels, predictions)
        predicted = predictions[..., None] == classes
        labelled = np.broadcast_to(labels[:, None] == classes, predicted.shape)
    return np.concatenate([labelled, predicted, labelled & predicted], axis=-1)


def _f1_by_class(sums: Sums) -> tuple[Sums, Sums, NDArray[np.bool_]]:
    """Return F1, number of labels, and whether it occurs at all, of each class: (..., classes).

    F1 is 2 TP / (labelled + predicted), 0 for a class that is never right.
    """
    labelled, predicted, correct = np.split(sums, 3, axis=-1)
    size = labelled + predicted
    occurs = size.real > 0
    f1 = np.divide(2 * correct, size, out=np.zeros_like(size), where=occurs)
    return f1, labelled, occurs


def _macro_f1(sums: Sums) -> Sums:
    """Return the mean of F1 over the classes that occur."""
    f1, _, occurs = _f1_by_class(sums)
    return np.asarray(f1.sum(-1) / occurs.sum(-1))


def _weighted_f1(sums: Sums) -> Sums:
    """Return the mean of F1 over the classes, each weighted by its number of labels."""
    f1, labelled, _ = _f1_by_class(sums)
    return np.asarray((f1 * labelled).sum(-1) / labelled.sum(-1))


def _mcc(sums: Sums) -> Sums:
    """Return Matthews' correlation coefficient, 0 where labels or predictions are of one class.

    For several classes it is the R_K of Gorodkin 2004 (doi 10.1016/j.compbiolchem.2004.09.006).
    """
    labelled, predicted, correct = np.split(sums, 3, axis=-1)
    rows = labelled.sum(-1)
    covariance = correct.sum(-1) * rows - (labelled * predicted).sum(-1)
    variances = (rows**2 - (labelled**2).sum(-1)) * (rows**2 - (predicted**2).sum(-1))
    defined = variances.real > 0
    root = np.sqrt(np.where(defined, variances, 1))
    return np.where(defined, covariance / root, 0)


def _micro_f1(sums: Sums) -> Sums:
    """Return F1 of all classes together: 2 TP / (labelled + predicted), 0 where there is none."""
    labelled, predicted, correct = (part.sum(-1) for part in np.split(sums, 3, axis=-1))
    return _ratio(np.stack([2 * correct, labelled + predicted], axis=-1))


def _correct_words(labels: Labels, predictions: Labels) -> NDArray[np.int64]:
    """Return how many words have the right tag, and how many there are: (..., rows, 2)."""
    is_word = labels != NO_WORD
    correct = ((predictions == labels) & is_word).sum(-1)
    return np.stack([correct, np.broadcast_to(is_word.sum(-1), correct.shape)], axis=-1)


def entity_types(tags: Labels) -> Labels:
    """Return the type of each tag's entity, -1 outside: tag 0 is `O`, then come B and I in turn."""
    return np.where(tags > 0, (tags - 1) // 2, -1)


def find_entities(tags: Labels) -> tuple[NDArray[np.bool_], Labels]:
    """Return where entities begin, and each word's last word of the same entity; both as `tags`.

    An entity goes on with I of its type; an I after anything else begins one, as in conlleval.
    """
    types, inside = entity_types(tags), (tags > 0) & (tags % 2 == 0)
    goes_on = np.zeros(tags.shape, dtype=bool)
    goes_on[..., 1:] = inside[..., 1:] & (types[..., 1:] == types[..., :-1])
    last = np.broadcast_to(np.arange(tags.shape[-1]), tags.shape).copy()
    for word in range(tags.shape[-1] - 2, -1, -1):
        last[..., word] = np.where(goes_on[..., word + 1], last[..., word + 1], word)
    return (tags > 0) & ~goes_on, last


def entity_hits(labels: Labels, predictions: Labels) -> NDArray[np.bool_]:
    """Return where an entity begins that has the same type and end in both: as `predictions`."""
    begins, last = find_entities(labels)
    predicted, predicted_last = find_entities(np.where(labels == NO_WORD, 0, predictions))
    same = (entity_types(labels) == entity_types(predictions)) & (last == predicted_last)
    return np.asarray(begins & predicted & same)


def _entity_counts(labels: Labels, predictions: Labels) -> NDArray[np.int64]:
    """Return the entities that are labelled, predicted, both: (..., rows, 3)."""
    predicted = find_entities(np.where(labels == NO_WORD, 0, predictions))[0].sum(-1)
    labelled = np.broadcast_to(find_entities(labels)[0].sum(-1), predicted.shape)
    return np.stack([labelled, predicted, entity_hits(labels, predictions).sum(-1)], axis=-1)


def _moments(labels: Labels, predictions: Labels) -> NDArray[np.float64]:
    """Return 1, x, y, x^2, y^2 and xy of each row, both centred on the labels' mean."""
    x, y = np.broadcast_arrays(labels - labels.mean(), predictions - labels.mean())
    return np.stack([np.ones_like(x), x, y, x**2, y**2, x * y], axis=-1)


def _rank_moments(labels: Labels, predictions: Labels) -> NDArray[np.float64]:
    """Return the moments of the ranks among the rows."""
    return _moments(rankdata(labels), rankdata(predictions, axis=-1))


def _correlation(sums: Sums) -> Sums:
    """Return Pearson's correlation, 0 where labels or predictions are constant."""
    rows, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    variances = (rows * xx - x**2) * (rows * yy - y**2)
    defined = variances.real > 1e-12 * (rows**2 * xx * yy).real
    root = np.sqrt(np.where(defined, variances, 1))
    return np.where(defined, (rows * xy - x * y) / root, 0)


def _squared_errors(labels: Labels, predictions: Labels) -> NDArray[np.float64]:
    """Return each row's squared error, and 1: (..., rows, 2)."""
    error = (predictions - labels) ** 2
    return np.stack([error, np.ones_like(error)], axis=-1)


_CORRELATION = (-1.0, 1.0)

METRICS: dict[str, Metric] = {
    "accuracy": Metric(_correct, row_mean, "points of accuracy"),
    "macro-f1": Metric(_class_counts, _macro_f1, "points of macro-F1"),
    "weighted-f1": Metric(_class_counts, _weighted_f1, "points of weighted F1"),
    "mcc": Metric(_class_counts, _mcc, "points of MCC", bounds=_CORRELATION),
    "micro-f1": Metric(_class_counts, _micro_f1, "points of micro-F1"),
    "subset-accuracy": Metric(_correct, row_mean, "points of subset accuracy"),
    "entity-f1": Metric(_entity_counts, _micro_f1, "points of entity F1"),
    "token-accuracy": Metric(_correct_words, _ratio, "points of token accuracy"),
    "spearman": Metric(_rank_moments, _correlation, "points of Spearman", bounds=_CORRELATION),
    "pearson": Metric(_moments, _correlation, "points of Pearson", bounds=_CORRELATION),
    "mse": Metric(
        _squared_errors,
        row_mean,
        "units of mean squared error",
        greater_is_better=False,
        bounds=(-math.inf, 0.0),
        points="mse",
    ),
}
