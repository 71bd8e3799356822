"""Metrics: how predictions become a score, each metric made of sums over the rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

Sums = NDArray[Any]  # float64, or complex128 where a derivative is computed


@dataclass(frozen=True, slots=True)
class Score:
    """How good one trained candidate is on one split.

    `quality` is the task's metric, finite, greater is better; `accuracy` and `macro_f1` are in
    [0, 1]; `loss` is the mean cross-entropy in nats, finite and not negative; `seconds` is the
    training's wall time; `note` says what happened on the way (a batch halved for memory, say),
    mostly empty.
    """

    quality: float
    accuracy: float
    macro_f1: float
    loss: float
    split: str
    seed: int
    seconds: float
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("accuracy", "macro_f1"):
            value = getattr(self, name)
            assert 0.0 <= value <= 1.0, f"{name} is in [0, 1], got {value}"
        for name in ("quality", "loss"):
            value = getattr(self, name)
            assert math.isfinite(value), f"{name} is finite, got {value}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric whose value depends on the rows only through sums over them.

    `statistics(labels, predictions)` returns what each row adds to the sums, of shape
    (..., rows, k) for `labels` (rows,) and `predictions` (..., rows); predictions of one call get
    the same k columns. `value(sums)` makes the metric of sums (..., k), smooth wherever it is
    defined. It must take complex sums too, and must not change where every sum is doubled: the
    confidence interval needs its derivative, see `evaluation.statistics.row_contributions`.

    `unit` names a difference of 0.01 in reports; `bounds` are the least and greatest `quality`.
    """

    statistics: Callable[[Labels, Labels], NDArray[Any]]
    value: Callable[[Sums], Sums]
    unit: str
    greater_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def is_mean(self) -> bool:
        """Whether the metric is the mean over rows of its first statistic."""
        return self.value is row_mean

    @property
    def sign(self) -> int:
        """What makes greater better: 1, or -1 for an error."""
        return 1 if self.greater_is_better else -1

    @property
    def span(self) -> float:
        """The greatest difference between two qualities."""
        return self.bounds[1] - self.bounds[0]

    def quality(self, labels: Labels, predictions: Labels) -> float:
        """Return the metric's value, negative for an error: greater is better. Both (rows,)."""
        sums = self.statistics(labels, predictions).sum(axis=-2, dtype=np.float64)
        return self.sign * float(self.value(sums))


def row_mean(sums: Sums) -> Sums:
    """Return the mean of a statistic over the rows: columns are its sum and the rows' number."""
    return sums[..., 0] / sums[..., 1]


def _correct(labels: Labels, predictions: Labels) -> NDArray[np.bool_]:
    """Return whether each row is predicted correctly, and 1: (..., rows, 2)."""
    correct = predictions == labels
    return np.stack([correct, np.ones_like(correct)], axis=-1)


def _class_counts(labels: Labels, predictions: Labels) -> NDArray[np.bool_]:
    """Return for each class whether it is the label, is predicted, both: (..., rows, 3 classes)."""
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


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_correct, row_mean, "points of accuracy"),
    "macro-f1": Metric(_class_counts, _macro_f1, "points of macro-F1"),
    "weighted-f1": Metric(_class_counts, _weighted_f1, "points of weighted F1"),
    "mcc": Metric(_class_counts, _mcc, "points of MCC", bounds=(-1.0, 1.0)),
}
