"""Activation cache: a head is trained the same, and the frozen encoder runs once for each row."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from autoprune.encoders.pruning import encoder_layers
from autoprune.layouts.layout import Layout
from autoprune.training import activation_cache
from autoprune.training import evaluator as evaluator_module
from tiny_models import DEPTH, FAMILIES

LAYOUT = Layout(DEPTH, (0, 2, 3))
# The heads of these families read more than the first token of a row.
NOT_CACHED = ("modernbert", "nomic_bert")


@pytest.fixture
def probe(pretrained, budget):
    """Return a function from a family to an evaluator that trains the head alone."""

    def probe(family):
        return replace(pretrained(family), budget=replace(budget, method="probe"))

    return probe


@pytest.mark.parametrize("family", FAMILIES)
def test_head_on_cached_activations_is_trained_the_same(family, probe, monkeypatch, fp32):
    evaluator = probe(family)
    cached = evaluator.train(LAYOUT, 3)
    monkeypatch.setattr(
        evaluator_module, "cached_activations", lambda _, splits, *__: nullcontext(splits)
    )
    computed = evaluator.train(LAYOUT, 3)
    assert cached.score.loss == pytest.approx(computed.score.loss, abs=2e-6)
    assert cached.score.loss != pytest.approx(evaluator.train(LAYOUT, 4).score.loss, abs=2e-5)
    torch.testing.assert_close(
        dict(cached.model.named_parameters()),
        dict(computed.model.named_parameters()),
        atol=2e-4,
        rtol=0,
    )


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in NOT_CACHED])
def test_frozen_layers_run_once_for_each_row(family, probe):
    plain, runs = probe(family), []

    def load(seed):
        model = plain.load(seed)
        for layer in encoder_layers(model)[:2]:
            layer.register_forward_hook(lambda *_: runs.append(1))
        return model

    budget = replace(plain.budget, batch=48)
    replace(plain, load=load, budget=budget).train(Layout.full(DEPTH), 3)
    assert len(runs) == 2 * 3  # a few rows to try the cache, the train rows, the validation rows


def test_activations_that_need_too_much_memory_are_not_cached(probe, monkeypatch, fp32):
    evaluator = probe("bert")
    cached = evaluator.train(LAYOUT, 3).score
    monkeypatch.setattr(activation_cache, "_MAX_CACHE_BYTES", 0)
    monkeypatch.setattr(activation_cache, "_encode_split", pytest.fail)
    assert evaluator.train(LAYOUT, 3).score.loss == pytest.approx(cached.loss, abs=1e-4)
