"""Fine-tuning methods and the start of the head; what methods train is tested elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from autoprune.choices import METHOD_NAMES
from autoprune.encoders.pruning import head_parameters
from autoprune.layouts.layout import Layout
from autoprune.training.loop import MicroBatcher, predict_logits
from autoprune.training.methods import CACHES_ACTIVATIONS, METHODS, center_head, fit_head
from autoprune.training.problem_types import REGRESSION, SINGLE_LABEL
from tiny_models import DEPTH, FAMILIES

CPU = torch.device("cpu")


def test_choices_name_every_method():
    assert tuple(METHODS) == METHOD_NAMES
    assert set(CACHES_ACTIVATIONS) <= set(METHODS)


@pytest.mark.parametrize("family", FAMILIES)
def test_fitted_head_is_better_than_a_drawn_one_before_training(family, pretrained, fp32):
    drawn = pretrained(family)
    rows = np.arange(len(drawn.rows))
    layout = Layout(DEPTH, (0, 1, 3))
    losses = []
    for fit in (False, True):
        model = drawn.untrained(layout, 0)
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        if fit:
            fit_head(model, drawn.rows, rows, SINGLE_LABEL, 0, CPU)
            head = head_parameters(model)
            changed = {
                name for name, weight in model.named_parameters() if (weight != before[name]).any()
            }
            assert changed, "the head was fitted"
            assert changed <= head, "the layers stay as they are"
        logits = predict_logits(model, drawn.rows, CPU, MicroBatcher(8))
        losses.append(SINGLE_LABEL.row_losses(logits, drawn.rows.labels).mean())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_head_begins_at_the_mean_of_numbers(family, pretrained, fp32):
    drawn = pretrained(family)
    years = np.linspace(1990, 2026, len(drawn.rows)).astype(np.float32)
    for problem_type, offset in ((SINGLE_LABEL, 0), (REGRESSION, years.mean())):
        model = drawn.untrained(Layout(DEPTH, (0, 1, 3)), 0)
        before = predict_logits(model, drawn.rows, CPU, MicroBatcher(8))
        center_head(model, years, problem_type)
        moved = predict_logits(model, drawn.rows, CPU, MicroBatcher(8)) - before
        np.testing.assert_allclose(moved, offset, rtol=1e-3, atol=1e-6)
        run = replace(
            drawn,
            rows=replace(drawn.rows, labels=years),
            problem_type=problem_type,
            budget=replace(drawn.budget, head="drawn"),
        )
        started = run._start(Layout(DEPTH, (0, 1, 3)), 0).model
        moved = predict_logits(started, drawn.rows, CPU, MicroBatcher(8)) - before
        np.testing.assert_allclose(moved, offset, rtol=1e-3, atol=1e-6)


def test_pooler_of_a_fitted_head_scales_each_unit(evaluator, fp32):
    model = evaluator.untrained(Layout(4, (0, 2)), 0)
    fit_head(model, evaluator.rows, np.arange(64), SINGLE_LABEL, 0, CPU)
    pooled = []
    hook = model.bert.pooler.dense.register_forward_hook(lambda *call: pooled.append(call[-1]))
    predict_logits(model, evaluator.rows, CPU, MicroBatcher(64))
    hook.remove()
    values = torch.cat(pooled)
    torch.testing.assert_close(values.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    assert values.std(0).max() == pytest.approx(0.5, abs=0.01)


def test_class_without_rows_is_not_predicted(evaluator):
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    weight, bias = SINGLE_LABEL.fit(features, np.array([0, 2] * 20), 4)
    assert weight.shape == (4, 5)
    logits = features @ weight.T + bias
    assert set(logits.argmax(-1)) <= {0, 2}
    assert SINGLE_LABEL.fit(features, np.zeros(40, int), 4) is None


def test_two_classes_are_fitted_as_by_logistic_regression():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 3)).astype(np.float32)
    labels = (features[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int)
    weight, bias = SINGLE_LABEL.fit(features, labels, 2)
    expected = LogisticRegression(C=0.1).fit(features.astype(float), labels)
    found = softmax(features @ weight.T + bias, axis=-1)
    np.testing.assert_allclose(found, expected.predict_proba(features), atol=1e-4)
