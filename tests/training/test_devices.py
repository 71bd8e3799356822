"""Devices: which one is used, how many threads, and whether it computes in bfloat16."""

import pytest
import torch

from autoprune.choices import DEVICE_NAMES
from autoprune.errors import OptionError, UnknownNameError
from autoprune.training import devices
from autoprune.training.devices import fast_in_bfloat16, limited_threads, select_device


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


def test_bfloat16_gain_is_a_ratio_that_is_measured_once():
    assert 0.01 < devices._gain() < 100
    assert devices._gain() == devices._gain()
