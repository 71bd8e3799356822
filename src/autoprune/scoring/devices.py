"""Devices: where candidates are trained, and whether bfloat16 is fast there."""

import platform

import torch

from autoprune.errors import OptionError, UnknownNameError
from autoprune.scoring.names import DEVICE_NAMES


def pick(name: str) -> torch.device:
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
    """Tell whether bfloat16 is computed by the hardware itself; emulated, it is slower than fp32.

    Processors: AVX512-BF16 or AMX; GPUs: compute capability 8.0 (Ampere) and later; MPS: no.
    """
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def describe(device: torch.device) -> str:
    """Name the device with what its speed depends on, for records and reports."""
    numbers = "bf16" if fast_in_bfloat16(device) else "fp32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {numbers}"
    name = platform.machine()
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or name
    threads = torch.get_num_threads()
    return f"{device.type} ({name}, {threads} thread{'s' * (threads > 1)}, {numbers})"
