"""Profiling: parameters, floating-point operations, time and peak memory of a classifier."""

import ctypes
import gc
import multiprocessing
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from autoprune.encoders.loading import (
    check_forward,
    load_classifier,
    load_trained,
    trained_labels,
    trained_problem_type,
)
from autoprune.encoders.pruning import encoder_layers
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import OptionError
from autoprune.processes import no_main_module

TokenBatch = Mapping[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)

EXPECTED_GAIN = 0.8  # share of the promised gain; a smaller gain gives a warning

# A call with a batch that takes less than this many times as long as a call with one row consists
# mostly of the fixed cost of a call.
_MIN_BATCH_RATIO = 2

_WARM_UP_ROUNDS = 2  # not counted: memory is allocated and kernels are chosen

_PASSES = 5

_PROC_STATUS = Path("/proc/self/status")

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of weights; a weight used twice counts once.

    `embeddings`, a part of `total`, are the token, position and type embeddings.
    """

    total: int
    embeddings: int


def count_parameters(model: nn.Module) -> Parameters:
    """Count the parameters of `model`, trainable or not."""
    tables = {
        id(table): table
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for table in module.parameters(recurse=False)
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    return Parameters(total, sum(table.numel() for table in tables.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A classifier in evaluation mode on a device, in float32."""

    model: PreTrainedModel
    device: torch.device

    def __call__(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes), in the memory of the CPU."""
        inputs = {name: torch.from_numpy(ids).to(self.device) for name, ids in tokens.items()}
        with torch.inference_mode():
            logits: torch.Tensor = self.model(**inputs).logits
        return cast(NDArray[np.float32], logits.float().cpu().numpy())


def open_classifier(checkpoint: EncoderFiles, device: torch.device) -> Classifier:
    """Load a checkpoint to be timed, with a random head for its labels; raises `ModelError`."""
    labels, problem_type = trained_labels(checkpoint), trained_problem_type(checkpoint)
    model: Any = load_classifier(checkpoint, labels, 0, problem_type)
    return Classifier(model.to(device).eval(), device)


def open_trained(checkpoint: EncoderFiles, device: torch.device) -> Classifier:
    """Load a classifier as it was trained; raises `ModelError`."""
    model: Any = load_trained(checkpoint)
    check_forward(checkpoint, model)
    return Classifier(model.to(device).eval(), device)


def count_flops(classifier: Classifier, batches: Sequence[TokenBatch]) -> int:
    """Count the floating-point operations of all batches, padding included.

    Counts the multiplications and additions of matrix products and attention, nothing else.
    """
    # The counter knows the operations of the plain attention, not of the CPU's fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for tokens in batches:
            classifier(tokens)
    return int(counter.get_total_flops())


def time_outside_layers(classifier: Classifier, batches: Sequence[TokenBatch]) -> float:
    """Return the share of the time that is spent outside the layers: embeddings, pooler, head.

    The median of several passes over all batches.
    """
    synchronize: Callable[[], object] = {
        "cuda": torch.cuda.synchronize,
        "mps": torch.mps.synchronize,
    }.get(classifier.device.type, lambda: None)
    times: list[float] = []  # of entering and of leaving the layers, in turns

    def note_time(*_: object) -> None:
        synchronize()
        times.append(time.perf_counter())

    layers = encoder_layers(classifier.model)
    hooks = [
        layers[0].register_forward_pre_hook(note_time),
        layers[-1].register_forward_hook(note_time),
    ]
    shares = []
    try:
        for _ in range(_PASSES + 1):
            times.clear()
            started = time.perf_counter()
            for tokens in batches:
                classifier(tokens)
            inside = sum(times[1::2]) - sum(times[::2])
            shares.append(1 - inside / (time.perf_counter() - started))
    finally:
        for hook in hooks:
            hook.remove()
    return max(0.0, statistics.median(shares[1:]))  # the first pass warms up


def measure_in_turns(
    calls: Mapping[_K, Callable[[], object]], rounds: int
) -> dict[_K, list[float]]:
    """Return the seconds that each call took in each round, after some rounds of warm-up.

    Each round makes all calls, every second one in reverse order, so that none is always the first.
    """
    seconds: dict[_K, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(-_WARM_UP_ROUNDS, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            started = time.perf_counter()
            calls[name]()
            elapsed = time.perf_counter() - started
            if number >= 0:
                seconds[name].append(elapsed)
    return seconds


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Where a model's time goes, in seconds per text, in batches; the fields are keys of cost.json.

    `outside` is the part of `forward` that is spent outside the layers (embeddings, pooler, head);
    `tokenising` is not part of it; `alone` is `forward` for a batch of one text.
    """

    layers: int
    forward: float
    outside: float
    tokenising: float
    alone: float


def speed_warnings(
    full: LayerTimes, small: LayerTimes, batch: int, gain: float | None = None
) -> tuple[str, ...]:
    """Return a warning for each gain below `EXPECTED_GAIN` of what the layers promise, often none.

    `full` and `small` are one model before and after pruning, measured with `batch` rows; `gain` is
    the gain in throughput that is shown elsewhere, so that a model has one. One warning is about
    the models alone, another about the way from text to label.
    """
    promised = full.layers / small.layers
    gain = full.forward / small.forward if gain is None else gain
    whole = (full.forward + full.tokenising) / (small.forward + small.tokenising)
    warnings = []
    if gain < EXPECTED_GAIN * promised:
        warnings.append(
            f"Little gain: {gain:.2f} times the full model's throughput in batches of {batch}, "
            f"where the layers ({full.layers} to {small.layers}) promise {promised:.2f}. "
            f"{_likely_reason(full, small, batch)}"
        )
    # A shortfall of the model alone is reported once.
    if whole < EXPECTED_GAIN * min(promised, gain):
        share = small.tokenising / (small.forward + small.tokenising)
        warnings.append(
            f"Little gain with the tokenizer counted: {whole:.2f} times, where the layers "
            f"({full.layers} to {small.layers}) promise {promised:.2f}. Likely reason: the "
            f"tokenizer, which takes {share:.0%} of the pruned model's time and has no layers: "
            "tokenise ahead, or in other processes."
        )
    return tuple(warnings)


def _likely_reason(full: LayerTimes, small: LayerTimes, batch: int) -> str:
    """Return the most likely reason for a small gain, by what was measured."""
    promised = full.layers / small.layers
    in_layers = (full.forward - full.outside) / (small.forward - small.outside)
    if in_layers >= EXPECTED_GAIN * promised:
        return (
            f"Likely reason: the embeddings and the head, which take "
            f"{small.outside / small.forward:.0%} of the pruned model's time and stay as they are."
        )
    if batch == 1:
        return (
            "Likely reason: one text at a time, where the fixed cost of a call outweighs the "
            "arithmetic: try a larger --batch."
        )
    calls = batch * small.forward / small.alone
    if calls < _MIN_BATCH_RATIO:
        return (
            f"Likely reason: too small a batch for this device, for a call with {batch} texts "
            f"takes only {calls:.1f} times as long as one with a single text: try a larger --batch."
        )
    return (
        f"The layers alone are {in_layers:.2f} times as fast; embeddings and head take "
        f"{small.outside / small.forward:.0%} of the time, and the batch fills the device. Likely "
        "reason: other work on this machine, or too many threads for so small a model: measure "
        "again when it is idle, or with --threads 1."
    )


def measure_peak_memory(
    job: Callable[[], object], device: torch.device, preload: str = __name__
) -> int:
    """Run `job` in a new process and return its peak memory in bytes.

    On a GPU, the memory of the GPU; else the process's peak minus what it holds after the job's
    result is freed, so that Python and the code of the libraries do not count. `preload` is a
    module that the process imports first. Raises what `job` raises, and `OptionError` where the
    process is killed.
    """
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":  # loads torch once; each job runs in a fork
        context.set_forkserver_preload([preload])
    with ProcessPoolExecutor(1, context) as pool:
        try:
            with no_main_module():
                peak = pool.submit(_peak_memory, job, device.type, torch.get_num_threads())
            return peak.result()
        except BrokenProcessPool as error:
            raise OptionError(
                "measuring peak memory was ended from outside, maybe for lack of memory: "
                "try a smaller --batch"
            ) from error


def _peak_memory(job: Callable[[], object], device: str, threads: int) -> int:
    torch.set_num_threads(threads)
    job()
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # glibc does not return freed memory by itself
        ctypes.CDLL(None).malloc_trim(0)
    return max(0, _peak_resident_size() - int(psutil.Process().memory_info().rss))


def _peak_resident_size() -> int:
    """Return the largest resident size of this process so far, in bytes; psutil has none."""
    if _PROC_STATUS.exists():
        match = re.search(r"^VmHWM:\s+(\d+) kB$", _PROC_STATUS.read_text(), re.MULTILINE)
        assert match is not None, "the kernel reports it"
        return 1024 * int(match[1])
    # Bytes on macOS. On Linux it would be KiB, and that of the parent process if that was higher.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
