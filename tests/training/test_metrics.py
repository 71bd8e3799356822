"""Each metric gives scikit-learn's figures, to the last digit for the two that records hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from autoprune.choices import METRIC_NAMES
from autoprune.training.metrics import METRICS, Metric, row_mean
from autoprune.training.problem_types import SINGLE_LABEL

REFERENCES = {
    "accuracy": accuracy_score,
    "macro-f1": lambda labels, predicted: f1_score(
        labels, predicted, average="macro", zero_division=0
    ),
    "weighted-f1": lambda labels, predicted: f1_score(
        labels, predicted, average="weighted", zero_division=0
    ),
    "mcc": matthews_corrcoef,
}

rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=2, max_size=40)


def test_choices_name_every_metric():
    assert tuple(METRICS) == METRIC_NAMES
    assert SINGLE_LABEL.metrics == tuple(REFERENCES)


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
@given(rows)
@settings(max_examples=60, deadline=None)
def test_quality_is_that_of_scikit_learn(name, pairs):
    labels, predicted = np.array(pairs).T
    exact = 0.0 if name in {"accuracy", "macro-f1"} else 1e-12
    quality = METRICS[name].quality(labels, predicted)
    assert quality == pytest.approx(REFERENCES[name](labels, predicted), rel=exact, abs=exact)
    assert METRICS[name].bounds[0] <= quality <= METRICS[name].bounds[1]


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
def test_quality_of_perfect_and_of_opposite_predictions_are_the_bounds(name):
    labels = np.array([0, 1, 0, 1, 1, 0])
    assert METRICS[name].quality(labels, labels) == METRICS[name].bounds[1]
    assert METRICS[name].quality(labels, 1 - labels) == METRICS[name].bounds[0]


@pytest.mark.parametrize("name", SINGLE_LABEL.metrics)
def test_sums_of_stacked_predictions_are_those_of_each(name):
    rng, metric = np.random.default_rng(0), METRICS[name]
    labels, predicted = rng.integers(4, size=50), rng.integers(5, size=(2, 3, 50))
    values = metric.value(metric.statistics(labels, predicted).sum(-2, dtype=float))
    assert values.shape == (2, 3)
    expected = [[metric.quality(labels, row) for row in rows] for rows in predicted]
    assert values == pytest.approx(np.array(expected), rel=1e-12)


def test_quality_of_an_error_is_negative():
    error = Metric(
        lambda labels, predicted: np.stack([(predicted - labels) ** 2, labels * 0 + 1], -1),
        row_mean,
        "points of squared error",
        greater_is_better=False,
    )
    assert error.quality(np.array([0, 1, 2]), np.array([0, 1, 4])) == pytest.approx(-4 / 3)
