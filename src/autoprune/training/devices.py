"""Devices: where candidates are trained, and whether bfloat16 is fast there."""

import platform
import time
from functools import cache

import torch
from torch import nn

from autoprune.choices import DEVICE_NAMES
from autoprune.errors import OptionError, UnknownNameError

# Below this gain in matrix products, the casts of autocast cost more than bfloat16 saves.
MIN_BF16_GAIN = 1.3


def select_device(name: str) -> torch.device:
    """Return the named device, or for `auto` the fastest that is here.

    Raises `UnknownNameError`, and `OptionError` for a device that this machine lacks.
    """
    if name not in DEVICE_NAMES:
        raise UnknownNameError("device", name, DEVICE_NAMES)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in here.items() if there), "cpu"))
    if not here.get(name, True):
        raise OptionError(f"device {name} is not on this machine, use --device cpu or auto")
    return torch.device(name)


def fast_in_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster there than fp32; emulated, it is slower.

    GPUs: compute capability 8.0 (Ampere) and later. Processors with AVX512-BF16 or AMX: measured
    once a process, since some virtual machines offer AVX512-BF16 at half the speed of fp32.
    MPS: no.
    """
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16")) and _gain() >= MIN_BF16_GAIN
    return False


def supports_bfloat16(model: nn.Module) -> bool:
    """Tell whether the family can run in bfloat16.

    DeBERTa fills masked scores with fp32's lowest number, which bfloat16 cannot hold.
    """
    return bool(model.config.model_type != "deberta")


@cache
def _gain() -> float:
    """Return how many times faster this processor multiplies matrices in bfloat16 than in fp32.

    The two take turns and the fastest of each counts, in this thread's own time, so that other
    work on the machine does not tip the choice: processes of one study must agree. About 50 ms.
    """
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(30):
        for kind in best:
            left, right = torch.ones(512, 256, dtype=kind), torch.ones(256, 512, dtype=kind)
            started = time.thread_time()
            torch.mm(left, right)
            best[kind] = min(best[kind], time.thread_time() - started)
    return best[torch.float32] / best[torch.bfloat16]


def describe_device(device: torch.device) -> str:
    """Name the device with what its speed depends on, for records and reports."""
    numbers = "bf16" if fast_in_bfloat16(device) else "fp32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {numbers}"
    name = platform.machine()
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or name
    threads = torch.get_num_threads()
    return f"{device.type} ({name}, {threads} thread{'s' * (threads > 1)}, {numbers})"
