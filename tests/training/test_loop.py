"""Training loop: optimizer, learning rate schedule, micro-batches, and the loss it is given."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoprune.encoders.pruning import head_parameters
from autoprune.training import loop
from autoprune.training.budget import Budget
from autoprune.training.loop import (
    MicroBatcher,
    TrainingClock,
    TrainingState,
    evaluation_steps,
    learning_rate_at,
    make_optimizer,
    microbatch_rows,
    train,
)
from autoprune.training.methods import METHODS

CPU = torch.device("cpu")


def test_optimizer_decays_no_biases_and_norms(evaluator):
    model = evaluator.load(0)
    decaying, others = make_optimizer(model, CPU).param_groups
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {name.rpartition(".")[2] for name in (names[id(w)] for w in others["params"])} == {
        "bias",
        "weight",
    }
    assert all("LayerNorm" in names[id(w)] or "bias" in names[id(w)] for w in others["params"])
    assert all("LayerNorm" not in names[id(w)] for w in decaying["params"])
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert len(decaying["params"]) + len(others["params"]) == len(names)


def test_optimizer_has_no_state_of_frozen_weights(evaluator):
    model = METHODS["head"](evaluator.load(0))
    groups = make_optimizer(model, CPU).param_groups
    assert sum(len(group["params"]) for group in groups) == len(head_parameters(model)) == 4


@given(st.integers(1, 3000))
def test_learning_rate_rises_to_its_peak_and_falls(steps):
    rates = [learning_rate_at(step, steps) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == 1.0 and min(rates) > 0
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@given(st.integers(1, 500), st.integers(1, 20))
def test_evaluation_steps_are_spread_and_include_the_last(steps, checks):
    evaluated = evaluation_steps(Budget(steps=steps, checks=checks))
    assert max(evaluated) == steps and min(evaluated) >= 1
    assert len(evaluated) == min(steps, checks)


@pytest.mark.parametrize(
    ("width", "tokens", "rows"), [(768, 512, 2), (768, 256, 10), (768, 24, 32), (128, 64, 32)]
)
def test_micro_batch_of_long_texts_has_few_rows(width, tokens, rows):
    model = nn.Module()
    model.config = SimpleNamespace(hidden_size=width)
    assert microbatch_rows(model, tokens, 32, CPU) == rows
    assert microbatch_rows(model, tokens, 1, CPU) == 1
    assert microbatch_rows(model, tokens, 32, torch.device("meta")) == 32
    assert microbatch_rows(nn.Module(), tokens, 32, CPU) == 32


def make_state(model, rows):
    return TrainingState(model, make_optimizer(model, CPU), MicroBatcher(rows), TrainingClock())


def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(evaluator, monkeypatch):
    model, seen = evaluator.load(0).eval(), []  # no dropout, which is drawn for each micro-batch
    model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["input_ids"])), with_kwargs=True
    )

    def gradients():
        model.zero_grad()
        state, rows = make_state(model, 8), np.arange(8)
        loss = loop._accumulate_gradients(state, evaluator.rows, rows, evaluator.loss, CPU)
        return loss, [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    whole, expected = gradients()
    longest = int(evaluator.rows.lengths[:8].max())
    monkeypatch.setattr(loop, "_MAX_REUSED_BYTES", 3 * 4 * longest * 4 * 16)  # 3 rows of width 16
    loss, actual = gradients()
    assert seen == [8, 3, 3, 2]
    assert loss == pytest.approx(whole, rel=1e-2)  # bfloat16 rounds differently in other shapes
    for gradient, reference in zip(actual, expected, strict=True):
        error = torch.nn.functional.mse_loss(gradient, reference)
        assert error < 1e-3 * (reference**2).mean() + 1e-12


def test_loss_function_decides_what_is_learned(evaluator):
    """A loss that knows a row's place in the split learns other labels, as a distillation would."""
    targets = torch.from_numpy((evaluator.rows.labels + 1) % 3)
    model = evaluator.load(0)

    def loss_function(logits, batch):
        return nn.functional.cross_entropy(logits, targets[batch.rows], reduction="sum")

    budget = Budget(steps=150, batch=8, learning_rate=5e-3)
    for _ in train(make_state(model, 8), evaluator.rows, loss_function, budget, 0, CPU):
        pass
    predictions = loop.predict_logits(model, evaluator.rows, CPU, MicroBatcher(8)).argmax(-1)
    assert np.mean(predictions == targets.numpy()) > 0.8
