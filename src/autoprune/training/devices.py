"""Devices: where candidates are trained, threads, and mixed precision in bfloat16."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

from autoprune.choices import DEVICE_NAMES
from autoprune.errors import OptionError, UnknownNameError

# Below this gain in matrix products, the casts of autocast cost more than bfloat16 saves.
MIN_BF16_GAIN = 1.3


def select_device(name: str) -> torch.device:
    """Return the named device, or for `auto` the fastest one of this machine.

    Raises `UnknownNameError`, and `OptionError` for a device that this machine lacks.
    """
    if name not in DEVICE_NAMES:
        raise UnknownNameError("device", name, DEVICE_NAMES)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind in available if available[kind]), "cpu"))
    if not available.get(name, True):
        raise OptionError(f"device {name} is not on this machine, use --device cpu or auto")
    return torch.device(name)


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads of the processor inside the block, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mixed_precision(model: nn.Module, device: torch.device) -> torch.autocast:
    """Return a context in which `model` computes in bfloat16, where this is faster than fp32."""
    # DeBERTa fills masked scores with the lowest number of fp32, which bfloat16 cannot hold.
    enabled = fast_in_bfloat16(device) and model.config.model_type != "deberta"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fast_in_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster on `device` than fp32; where it is emulated, it is slower.

    GPUs: compute capability 8.0 (Ampere) and later. Processors with AVX512-BF16 or AMX: measured
    once in each process, since some virtual machines offer AVX512-BF16 at half the speed of fp32.
    MPS: no.
    """
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        supported = bool(features.get("avx512_bf16") or features.get("amx_bf16"))
        return supported and _gain() >= MIN_BF16_GAIN
    return False


@cache
def _gain() -> float:
    """Return how many times faster this processor multiplies matrices in bfloat16 than in fp32.

    The two alternate and the fastest of each counts, in the time of this thread alone, so that
    other work on the machine does not change the result: processes of one study must agree. Takes
    about 50 ms.
    """
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(30):
        for dtype in best:
            left, right = torch.ones(512, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
            started = time.thread_time()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.thread_time() - started)
    return best[torch.float32] / best[torch.bfloat16]


def describe_device(device: torch.device) -> str:
    """Return the device's name with what its speed depends on, for records and reports."""
    precision = "bf16" if fast_in_bfloat16(device) else "fp32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    name = platform.machine()
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or name
    threads = torch.get_num_threads()
    return f"{device.type} ({name}, {threads} thread{'s' * (threads > 1)}, {precision})"
