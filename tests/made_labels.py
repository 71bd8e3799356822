"""Labels and predictions of every problem type, drawn at random, and the metrics of each."""

import numpy as np

from autoprune.training.metrics import NO_WORD
from autoprune.training.problem_types import (
    MULTI_LABEL,
    PROBLEM_TYPES,
    REGRESSION,
    SINGLE_LABEL,
    TOKEN_CLASSIFICATION,
)

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")

METRICS_BY_TYPE = [
    (name, metric) for name, kind in PROBLEM_TYPES.items() for metric in kind.metrics
]


def _classes(rng, rows):
    labels = rng.integers(3, size=rows)
    return labels, np.where(rng.random(rows) < 0.3, rng.integers(3, size=rows), labels)


def _sets(rng, rows):
    labels = (rng.random((rows, 4)) < 0.4).astype(np.int64)
    return labels, np.where(rng.random(labels.shape) < 0.2, 1 - labels, labels)


def _numbers(rng, rows):
    labels = rng.normal(2.5, 1, rows)
    return labels, labels + rng.normal(0, 0.7, rows)


def _tags(rng, rows):
    lengths = rng.integers(1, 8, rows)
    labels = rng.integers(len(TAGS), size=(rows, lengths.max()))
    predicted = np.where(rng.random(labels.shape) < 0.3, rng.integers(5, size=labels.shape), labels)
    beyond = np.arange(labels.shape[1]) >= lengths[:, None]
    return np.where(beyond, NO_WORD, labels), np.where(beyond, NO_WORD, predicted)


MAKERS = {
    SINGLE_LABEL.name: _classes,
    MULTI_LABEL.name: _sets,
    REGRESSION.name: _numbers,
    TOKEN_CLASSIFICATION.name: _tags,
}


def make_labels(problem_type, rows, seed=0):
    """Return labels and predictions of `rows` rows."""
    return MAKERS[problem_type](np.random.default_rng(seed), rows)
