"""Metrics of all problem types: known answers of other libraries, contributions, exchanges."""

import itertools

import numpy as np
import pytest
from scipy import stats
from seqeval.metrics import f1_score as seqeval_f1_score
from sklearn import metrics as sklearn_metrics

from autoprune.evaluation.permutation_test import Predictions, paired_permutation_test
from autoprune.evaluation.statistics import row_contributions
from autoprune.training.metrics import METRICS, NO_WORD
from made_labels import METRICS_BY_TYPE, TAGS, make_labels


def entity_f1(labels, predicted):
    named = [
        [
            [TAGS[tag] for tag in row[known != NO_WORD]]
            for row, known in zip(each, labels, strict=True)
        ]
        for each in (labels, predicted)
    ]
    return seqeval_f1_score(*named)


def token_accuracy(labels, predicted):
    return sklearn_metrics.accuracy_score(labels[labels != NO_WORD], predicted[labels != NO_WORD])


def f1(average):
    return lambda labels, predicted: sklearn_metrics.f1_score(labels, predicted, average=average)


KNOWN = {
    "accuracy": sklearn_metrics.accuracy_score,
    "macro-f1": f1("macro"),
    "weighted-f1": f1("weighted"),
    "mcc": sklearn_metrics.matthews_corrcoef,
    "micro-f1": f1("micro"),
    "subset-accuracy": sklearn_metrics.accuracy_score,
    "spearman": lambda labels, predicted: stats.spearmanr(labels, predicted).statistic,
    "pearson": lambda labels, predicted: stats.pearsonr(labels, predicted).statistic,
    "mse": lambda labels, predicted: -sklearn_metrics.mean_squared_error(labels, predicted),
    "entity-f1": entity_f1,
    "token-accuracy": token_accuracy,
}


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
@pytest.mark.parametrize("seed", range(5))
def test_metric_is_what_another_library_says(kind, metric, seed):
    labels, predicted = make_labels(kind, 60, seed)
    expected = KNOWN[metric](labels, predicted)
    assert METRICS[metric].quality(labels, predicted) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
def test_metric_of_doubled_rows_is_the_same(kind, metric):
    labels, predicted = make_labels(kind, 40)
    if metric == "spearman":  # ties of equal rows have the mean rank
        pytest.skip("ranks of doubled rows are others")
    doubled = METRICS[metric].quality(*(np.concatenate([x, x]) for x in (labels, predicted)))
    assert doubled == pytest.approx(METRICS[metric].quality(labels, predicted), abs=1e-12)


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
def test_contributions_have_the_quality_as_mean_and_the_bootstrap_as_error(kind, metric):
    labels, predicted = make_labels(kind, 400)
    found = row_contributions(METRICS[metric], labels, predicted)
    assert found.mean() == pytest.approx(METRICS[metric].quality(labels, predicted), abs=1e-9)
    draws = np.random.default_rng(1).integers(400, size=(400, 400))
    spread = np.std([METRICS[metric].quality(labels[d], predicted[d]) for d in draws])
    assert found.std() / 20 == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
def test_p_is_the_share_of_all_exchanges_of_rows(kind, metric):
    labels, predicted = make_labels(kind, 8)
    other = (
        make_labels(kind, 8, 3)[1][..., : labels.shape[-1]]
        if labels.ndim == 2
        else (make_labels(kind, 8, 3)[1])
    )
    if labels.ndim == 2 and other.shape != labels.shape:
        other = np.pad(other, ((0, 0), (0, labels.shape[1] - other.shape[1])), mode="edge")
    if kind == "token_classification":
        other = np.where(labels == NO_WORD, NO_WORD, np.maximum(other, 0))
    quality, statistics = METRICS[metric], METRICS[metric].statistics
    of_a, of_b = (statistics(labels, np.stack([predicted, other]))).astype(float)
    gaps = []
    for swap in itertools.product([False, True], repeat=8):
        mask = np.array(swap)[:, None]
        a, b = np.where(mask, of_b, of_a).sum(0), np.where(mask, of_a, of_b).sum(0)
        gaps.append(float(quality.value(a) - quality.value(b)))
    expected = np.mean(np.abs(gaps) >= abs(gaps[0]) - 1e-9)
    first, second = (Predictions(labels, each[None], metric) for each in (predicted, other))
    assert paired_permutation_test([[(first, second)]]) == pytest.approx(expected, abs=0.03)
