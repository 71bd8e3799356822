"""Contributions: each row's share in a metric, so that their mean is the metric."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Values = NDArray[np.float64]


def accuracy(labels: Labels, predicted: Labels) -> Values:
    """Return 1 for each row that is right, else 0."""
    return np.asarray(labels == predicted, dtype=np.float64)


def macro_f1(labels: Labels, predicted: Labels) -> Values:
    """Return macro-F1 plus each row's influence on it; (rows,), the mean is macro-F1.

    F1 of a class is 2 TP / (true + predicted); a row moves it by the linear part of that ratio
    (the infinitesimal jackknife), and the influences add up to 0.
    """
    classes = np.union1d(labels, predicted)[:, None]  # (classes, 1)
    truly, said = labels == classes, predicted == classes  # (classes, rows)
    size = (truly.sum(1) + said.sum(1))[:, None]
    f1 = 2 * (truly & said).sum(1, keepdims=True) / size
    influence = (2 * (truly & said) - f1 * (1.0 * truly + said)) / size * labels.size
    return np.asarray((f1 + influence).mean(0), dtype=np.float64)  # (classes, rows) -> (rows,)


CONTRIBUTIONS: dict[str, Callable[[Labels, Labels], Values]] = {
    "accuracy": accuracy,
    "macro-f1": macro_f1,
}
