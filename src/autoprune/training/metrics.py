"""Metrics: how logits become a score."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score


@dataclass(frozen=True, slots=True)
class Score:
    """How good one trained candidate is on one split.

    `quality` is the task's metric (accuracy or macro-F1), in [0, 1], higher is better; `loss` is
    the mean cross-entropy in nats, finite and not negative; `seconds` is the training's wall time;
    `note` tells what happened on the way (a batch halved for memory, say), mostly empty.
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
        for name in ("quality", "accuracy", "macro_f1"):
            value = getattr(self, name)
            assert 0.0 <= value <= 1.0, f"{name} lies in [0, 1], got {value}"
        assert math.isfinite(self.loss), f"loss is finite, got {self.loss}"


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


def score_predictions(
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
