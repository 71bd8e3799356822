"""Problem types: a contract over all of them, and known answers of single-label classification."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef

from autoprune.choices import METRIC_NAMES, PROBLEM_TYPE_NAMES
from autoprune.errors import UnknownNameError
from autoprune.training.problem_types import PROBLEM_TYPES, SINGLE_LABEL, find_problem_type

LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]], dtype=np.float32))
LABELS = np.array([0, 1, 1])


def test_choices_name_every_problem_type():
    assert tuple(PROBLEM_TYPES) == PROBLEM_TYPE_NAMES
    assert all(name == problem_type.name for name, problem_type in PROBLEM_TYPES.items())


@pytest.mark.parametrize("name", PROBLEM_TYPES)
def test_problem_type_travels_between_processes_and_has_known_metrics(name):
    problem_type = PROBLEM_TYPES[name]
    assert pickle.loads(pickle.dumps(problem_type)) == problem_type
    assert problem_type.metrics and set(problem_type.metrics) <= set(METRIC_NAMES)


def test_problem_type_of_a_config_is_found_or_refused():
    assert find_problem_type(None) is find_problem_type(SINGLE_LABEL.name) is SINGLE_LABEL
    with pytest.raises(UnknownNameError, match="unknown problem type 'ranking'"):
        find_problem_type("ranking")


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_single_label_score_has_known_figures(metric):
    score = SINGLE_LABEL.score(LOGITS, LABELS, metric, "validation", 4, 1.5)
    expected = {
        "accuracy": 2 / 3,
        "macro-f1": 2 / 3,
        "weighted-f1": f1_score(LABELS, [0, 1, 0], average="weighted"),
        "mcc": matthews_corrcoef(LABELS, [0, 1, 0]),
    }
    assert score.quality == pytest.approx(expected[metric])
    assert (score.accuracy, score.macro_f1) == pytest.approx((2 / 3, 2 / 3))
    assert score.loss == pytest.approx(-np.log([0.7, 0.8, 0.3]).mean(), abs=1e-6)
    assert (score.split, score.seed, score.seconds) == ("validation", 4, 1.5)


def test_single_label_probabilities_are_those_of_the_logits():
    probabilities = SINGLE_LABEL.probabilities(LOGITS - 50)
    assert probabilities == pytest.approx(np.exp(LOGITS.astype(float)), rel=1e-5)
    assert (probabilities.argmax(-1) == SINGLE_LABEL.predict(LOGITS)).all()


def test_single_label_loss_is_the_sum_of_the_losses_that_a_score_reports():
    loss = SINGLE_LABEL.loss(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()
    assert loss == pytest.approx(SINGLE_LABEL.row_losses(LOGITS, LABELS).sum(), rel=1e-6)
