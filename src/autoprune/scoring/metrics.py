"""Metrics: how logits become a score."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score

from autoprune.scoring.score import Score

Labels = NDArray[np.int64]


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of rows whose label is predicted."""
    return float(accuracy_score(labels, predicted))


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """Return the mean over classes of F1, 0 for a class that is never right."""
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


METRICS: dict[str, Callable[[Labels, Labels], float]] = {
    "accuracy": accuracy,
    "macro-f1": macro_f1,
}


def score(
    logits: NDArray[np.float32], labels: Labels, metric: str, split: str, seed: int, seconds: float
) -> Score:
    """Score `logits` (rows, classes) against `labels` (rows,); loss is mean cross-entropy."""
    predicted = logits.argmax(-1)  # (rows, classes) -> (rows,)
    surprise = -log_softmax(logits.astype(np.float64), axis=-1)[np.arange(len(labels)), labels]
    return Score(
        quality=METRICS[metric](labels, predicted),
        accuracy=accuracy(labels, predicted),
        macro_f1=macro_f1(labels, predicted),
        loss=float(surprise.mean()),
        split=split,
        seed=seed,
        seconds=seconds,
    )
