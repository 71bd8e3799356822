"""Devices: which one is used, how many threads, and whether it computes in bfloat16."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoprune.choices import DEVICE_NAMES
from autoprune.errors import OptionError, UnknownNameError
from autoprune.training import devices
from autoprune.training.devices import (
    FastOperations,
    describe_device,
    fast_in_bfloat16,
    limited_threads,
    mixed_precision,
    select_device,
)


def test_device_with_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'cuda'"):
        select_device("cuda0")


def test_device_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto").type == select_device("cpu").type == "cpu"
    for name in set(DEVICE_NAMES) - {"auto", "cpu"}:
        with pytest.raises(OptionError, match="--device cpu or auto"):
            select_device(name)


def test_threads_are_set_inside_the_block_and_restored_after_it():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("features", "gain", "fast"),
    [
        ({"avx512_bf16": True}, 2.0, True),
        ({"amx_bf16": True}, 8.0, True),
        ({"avx512_bf16": True}, 0.5, False),  # measured on a virtual machine, 2026-11-24
        ({"avx2": True}, 2.0, False),
    ],
)
def test_bfloat16_is_used_where_it_is_measured_to_be_faster(monkeypatch, features, gain, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    monkeypatch.setattr(devices, "_gain", lambda: gain)
    assert fast_in_bfloat16(torch.device("cpu")) is fast


@pytest.mark.parametrize(
    ("model_type", "problem_type", "used"),
    [
        ("bert", "single_label_classification", True),
        ("bert", "regression", False),  # bfloat16 knows each sixteenth number near 2,048
        ("deberta", None, False),
    ],
)
def test_bfloat16_is_used_where_it_is_precise_enough(monkeypatch, model_type, problem_type, used):
    monkeypatch.setattr(devices, "fast_in_bfloat16", lambda device: True)
    config = SimpleNamespace(model_type=model_type, problem_type=problem_type)
    model, cpu = SimpleNamespace(config=config), torch.device("cpu")
    with mixed_precision(model, cpu):
        assert torch.is_autocast_enabled("cpu") is used
    precision = "fp32" if problem_type == "regression" else "bf16"
    assert describe_device(cpu, problem_type).endswith(f", {precision})")


def test_bfloat16_gain_is_a_ratio_that_is_measured_once():
    assert 0.01 < devices._gain() < 100
    assert devices._gain() == devices._gain()


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_dropout_drops_each_element_with_its_probability(p, dtype):
    values = torch.ones(999, 333, dtype=dtype, requires_grad=True)
    torch.manual_seed(0)
    with FastOperations():
        dropped = nn.Dropout(p)(values)
        again = functional.dropout(values, p)
    kept = (dropped != 0).float()
    assert kept.mean() == pytest.approx(1 - p, abs=2e-3)
    # Each random number serves four neighbours, which must not depend on each other.
    assert (
        torch.corrcoef(kept.flatten()[: 4 * 83_000].view(-1, 4).T).fill_diagonal_(0).abs().max()
        < 0.015
    )
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=5e-3)
    assert (dropped != again).any()
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach())


def test_fast_dropout_is_seeded_and_draws_nothing_where_nothing_is_dropped():
    values = torch.ones(50)
    with FastOperations():
        torch.manual_seed(3)
        for nothing in (functional.dropout(values, 0.0), functional.dropout(values, 0.5, False)):
            assert torch.equal(nothing, values)
        first = functional.dropout(values, 0.5)
        torch.manual_seed(3)
        assert torch.equal(functional.dropout(values, 0.5), first)
        assert torch.equal(functional.dropout(values, 1.0), torch.zeros(50))
        functional.dropout(values, 0.5, inplace=True)
    assert set(values.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_fast_attention_is_that_of_torch(kind):
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, 2, 3, 7, 8, generator=generator)
    inputs = [draw().bfloat16().requires_grad_() for _ in range(3)]
    mask = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None]
    masks = {"none": None, "bool": mask, "float": torch.where(mask, 0.0, -1e4).bfloat16()}
    goal = functional.scaled_dot_product_attention(
        *[each.float() for each in inputs], None if kind == "none" else mask
    )
    weights = draw()
    expected = torch.autograd.grad((goal * weights).sum(), inputs)
    with FastOperations():
        found = functional.scaled_dot_product_attention(*inputs, attn_mask=masks[kind])
    torch.testing.assert_close(found.float(), goal, atol=0.03, rtol=0.03)
    for mine, other in zip(
        torch.autograd.grad((found * weights).sum(), inputs), expected, strict=True
    ):
        assert (mine - other).float().norm() < 0.03 * other.float().norm()
