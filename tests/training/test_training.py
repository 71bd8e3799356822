"""The loop's parts against known answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoprune.choices import DEVICE_NAMES, METHOD_NAMES
from autoprune.encoders.pruning import head_parameters
from autoprune.errors import OptionError, UnknownNameError
from autoprune.training import devices, loop
from autoprune.training.budget import Budget, default_learning_rate
from autoprune.training.checkpoint import identity_text
from autoprune.training.devices import fast_in_bfloat16, select_device
from autoprune.training.loop import (
    MicroBatcher,
    TrainingClock,
    evaluation_steps,
    learning_rate_at,
    make_optimizer,
    microbatch_rows,
)
from autoprune.training.methods import METHODS
from autoprune.training.metrics import score_predictions


def test_names_are_the_entries():
    assert tuple(METHODS) == METHOD_NAMES
    assert all(
        0 < default_learning_rate(width, name) <= 5e-3 for width in (64, 768) for name in METHODS
    )


def test_biases_and_norms_do_not_decay(bench):
    model = bench.load(0)
    decaying, steady = make_optimizer(model, torch.device("cpu")).param_groups
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {name.rpartition(".")[2] for name in (names[id(w)] for w in steady["params"])} == {
        "bias",
        "weight",
    }
    assert all("LayerNorm" in names[id(w)] or "bias" in names[id(w)] for w in steady["params"])
    assert all("LayerNorm" not in names[id(w)] for w in decaying["params"])
    assert (decaying["weight_decay"], steady["weight_decay"]) == (0.01, 0.0)
    assert len(decaying["params"]) + len(steady["params"]) == len(names)


def test_frozen_weights_get_no_optimizer_state(bench):
    model = METHODS["head"](bench.load(0))
    groups = make_optimizer(model, torch.device("cpu")).param_groups
    assert sum(len(group["params"]) for group in groups) == len(head_parameters(model)) == 4


@given(st.integers(1, 3000))
def test_the_rate_rises_to_its_peak_and_falls(steps):
    rates = [learning_rate_at(step, steps) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == 1.0 and min(rates) > 0
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@given(st.integers(1, 500), st.integers(1, 20))
def test_checks_are_spread_and_the_last_step_is_one(steps, checks):
    places = evaluation_steps(Budget(steps=steps, checks=checks))
    assert max(places) == steps and min(places) >= 1
    assert len(places) == min(steps, checks)


def test_metrics_have_known_answers():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]], dtype=np.float32))
    labels = np.array([0, 1, 1])
    result = score_predictions(logits, labels, "macro-f1", "validation", 4, 1.5)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.macro_f1 == result.quality == pytest.approx(2 / 3)
    assert result.loss == pytest.approx(-np.log([0.7, 0.8, 0.3]).mean(), abs=1e-6)
    assert score_predictions(logits, labels, "accuracy", "test", 4, 1.5).quality == result.accuracy


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("tokens", -1), ("learning_rate", 0.0), ("learning_rate", 2.0),
     ("checks", 0), ("patience", 0), ("parts", 0)],
)  # fmt: skip
def test_a_budget_that_cannot_be_spent_is_refused(name, value):
    with pytest.raises(OptionError, match="must"):
        Budget(**{"steps": 1, name: value})


def test_a_budget_is_written_with_the_keys_of_the_first_version():
    budget = Budget(steps=7, patience=2, pause_at=3)
    written = budget.to_dict()
    assert (written["until"], "pause_at" in written) == (3, False)
    assert list(written)[-1] == "until"
    assert Budget.from_dict(written) == budget
    assert Budget.from_dict({"steps": 7}) == Budget(steps=7), "older records have fewer keys"


def test_an_identity_names_the_same_checkpoint_as_in_the_first_version():
    text = "Budget(steps=7, batch=32, tokens=128, learning_rate=5e-05, checks=3, method='full', "
    text += "patience=None, parts=1, until=3)"
    assert identity_text(Budget(steps=7, pause_at=3)) == text


def test_a_removed_method_is_read_and_no_longer_used():
    assert Budget.from_dict({"steps": 7, "method": "lora-upper"}).method == "lora-upper"
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        default_learning_rate(128, "lora-upper")


def test_an_unknown_method_or_device_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        Budget(steps=1, method="lorra")
    with pytest.raises(UnknownNameError, match="did you mean 'cuda'"):
        select_device("cuda0")


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto").type == select_device("cpu").type == "cpu"
    for name in set(DEVICE_NAMES) - {"auto", "cpu"}:
        with pytest.raises(OptionError, match="--device cpu or auto"):
            select_device(name)


@pytest.mark.parametrize(
    ("able", "gain", "fast"),
    [
        ({"avx512_bf16": True}, 2.0, True),
        ({"amx_bf16": True}, 8.0, True),
        ({"avx512_bf16": True}, 0.5, False),  # measured on a virtual machine, 2026-11-24
        ({"avx2": True}, 2.0, False),
    ],
)
def test_bfloat16_is_used_where_it_is_measured_to_be_faster(monkeypatch, able, gain, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(devices, "_gain", lambda: gain)
    assert fast_in_bfloat16(torch.device("cpu")) is fast


def test_the_measured_gain_is_a_ratio_and_stays_what_it_was():
    assert 0.01 < devices._gain() < 100
    assert devices._gain() == devices._gain()


@pytest.mark.parametrize(
    ("width", "tokens", "rows"), [(768, 512, 2), (768, 256, 10), (768, 24, 32), (128, 64, 32)]
)
def test_long_texts_go_through_the_layers_a_few_at_a_time(width, tokens, rows):
    model = nn.Module()
    model.config = SimpleNamespace(hidden_size=width)
    assert microbatch_rows(model, tokens, 32, torch.device("cpu")) == rows
    assert microbatch_rows(model, tokens, 1, torch.device("cpu")) == 1
    assert microbatch_rows(model, tokens, 32, torch.device("meta")) == 32
    assert microbatch_rows(nn.Module(), tokens, 32, torch.device("cpu")) == 32


def test_a_batch_in_pieces_has_the_loss_and_gradients_of_the_whole(bench, monkeypatch):
    model, seen = bench.load(0).eval(), []  # no dropout, which is drawn for each piece
    model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["input_ids"])), with_kwargs=True
    )

    def gradients():
        model.zero_grad()
        loss = loop._gradients(
            model, bench.rows, np.arange(8), torch.device("cpu"), MicroBatcher(8), TrainingClock()
        )
        return loss, [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    whole, expected = gradients()
    longest = int(bench.rows.lengths[:8].max())
    monkeypatch.setattr(loop, "_REUSED", 3 * 4 * longest * 4 * 16)  # three rows of width 16
    loss, found = gradients()
    assert seen == [8, 3, 3, 2]
    assert loss == pytest.approx(whole, rel=1e-2)  # bfloat16 rounds otherwise in other shapes
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.nn.functional.mse_loss(mine, theirs) < 1e-3 * (theirs**2).mean() + 1e-12
