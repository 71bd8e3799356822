"""Devices: where candidates are trained, threads, and mixed precision in bfloat16."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


@contextmanager
def mixed_precision(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Let `model` compute in bfloat16 inside the block, where this is faster and precise enough.

    On a processor with `FastOperations`.
    """
    enabled = uses_bfloat16(device, model.config.problem_type) and bfloat16_holds(model)
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=enabled),
        FastOperations() if device.type == "cpu" else nullcontext(),
    ):
        yield


def bfloat16_holds(model: nn.Module) -> bool:
    """Tell whether `model` can compute in bfloat16.

    DeBERTa fills masked scores with the lowest number of fp32, which bfloat16 lacks; X-MOD writes
    numbers of one format into a tensor of the other.
    """
    return model.config.model_type not in ("deberta", "xmod")


class FastOperations(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """Inside this block dropout, and attention in bfloat16 with gradients, are faster.

    For processors: torch draws the mask of a dropout element by element, and computes attention
    with dropout in fp32.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the faster function in place of `func`, where there is one."""
        options = kwargs or {}
        faster = func if options.get("enable_gqa") else _FASTER.get(func, func)
        return faster(*args, **options)


def _dropout(
    values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Do as `torch.nn.functional.dropout`, with four random numbers from each one of 64 bits."""
    dropped = round(p * 2**16)
    if not training or not 0 < dropped < 2**16:
        return functional.dropout(values, p, training, inplace)
    drawn = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    mask = drawn.view(torch.int16)[: values.numel()].view(values.shape)
    # In place, and by way of int16: torch turns bool into bfloat16 ten times as slowly.
    mask = mask.ge_(dropped - 2**15).to(values.dtype).mul_(2**16 / (2**16 - dropped))
    return values.mul_(mask) if inplace else values * mask


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """Do as `scaled_dot_product_attention`, in bfloat16 where gradients are needed.

    The scores are rounded to bfloat16, their softmax is fp32. Without gradients, torch's own way is
    as fast and holds no scores in memory.
    """
    in_bfloat16 = query.dtype == key.dtype == value.dtype == torch.bfloat16
    if is_causal or not in_bfloat16 or not query.requires_grad:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale
        )
    scores = (query * (scale or query.shape[-1] ** -0.5)) @ key.transpose(-2, -1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        bias = torch.zeros_like(attn_mask, dtype=scores.dtype)
        attn_mask = bias.masked_fill_(~attn_mask, torch.finfo(scores.dtype).min)
    if attn_mask is not None:
        scores = scores + attn_mask
    weights = scores.softmax(-1, dtype=torch.float32)  # (rows, heads, queries, keys)
    return _dropout(weights, dropout_p).to(value.dtype) @ value


_FASTER = {
    functional.dropout: _dropout,
    functional.scaled_dot_product_attention: _attention,
}


def uses_bfloat16(device: torch.device, problem_type: str | None) -> bool:
    """Tell whether models of this problem type are trained and scored in bfloat16 on `device`.

    Numbers are not: bfloat16 has 8 bits, so that from 2,048 on it knows each sixteenth number only.
    """
    return problem_type != "regression" and fast_in_bfloat16(device)


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


def describe_device(device: torch.device, problem_type: str | None = None) -> str:
    """Return the device's name with what its speed depends on, for records and reports."""
    precision = "bf16" if uses_bfloat16(device, problem_type) else "fp32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    name = platform.machine()
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or name
    threads = torch.get_num_threads()
    return f"{device.type} ({name}, {threads} thread{'s' * (threads > 1)}, {precision})"
