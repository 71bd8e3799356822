"""Running a classifier without training it: its logits, its arithmetic, where its time goes."""

import ctypes
import gc
import math
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
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from autoprune.encoders.files import read_config
from autoprune.encoders.loading import load_classifier, load_trained
from autoprune.encoders.pruning import encoder_layers
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import OptionError


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of weights; `embeddings`, a part of `total`, are the token, position and type tables.

    A weight used twice counts once.
    """

    total: int
    embeddings: int


def count_parameters(model: nn.Module) -> Parameters:
    """Count the parameters of `model`, learning or not."""
    tables = {
        id(table): table
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for table in module.parameters(recurse=False)
    }
    return Parameters(
        total=sum(parameter.numel() for parameter in model.parameters()),
        embeddings=sum(table.numel() for table in tables.values()),
    )


EXPECTED_GAIN = 0.8  # of the promised gain; less is said in words

# A call with a whole batch that takes less than this many times as long as one with one row is
# mostly the fixed cost of a call.
_UNFILLED = 2


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Where a model's time goes, in seconds a text in batches.

    `outside` is the part of `forward` that is spent outside the layers (embeddings, pooler, head);
    `tokenising` comes before; `alone` is `forward` for a batch of one text.
    """

    layers: int
    forward: float
    outside: float
    tokenising: float
    alone: float


def speed_warnings(full: LayerTimes, small: LayerTimes, batch: int) -> tuple[str, ...]:
    """Return a sentence for each gain below `EXPECTED_GAIN` of what the layers promise, often none.

    `full` and `small` are one model before and after pruning, measured at `batch` rows: one
    sentence is on the models alone, another on the way from text to label.
    """
    promised = full.layers / small.layers
    gain = full.forward / small.forward
    whole = (full.forward + full.tokenising) / (small.forward + small.tokenising)
    found = []
    if gain < EXPECTED_GAIN * promised:
        found.append(
            f"Little gain: {gain:.2f} times the full model's throughput in batches of {batch}, "
            f"where {full.layers} to {small.layers} layers promise {promised:.2f}. "
            f"{_reason(full, small, batch)}"
        )
    # What the model alone falls short by is not said twice.
    if whole < EXPECTED_GAIN * min(promised, gain):
        share = small.tokenising / (small.forward + small.tokenising)
        found.append(
            f"Little gain from text to label: {whole:.2f} times, where {full.layers} to "
            f"{small.layers} layers promise {promised:.2f}. Likely reason: the tokenizer, which "
            f"takes {share:.0%} of the pruned model's time and has no layers: tokenise ahead, or "
            "in other processes."
        )
    return tuple(found)


def _reason(full: LayerTimes, small: LayerTimes, batch: int) -> str:
    """Say what most likely keeps the model from its gain, by what was measured."""
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
    if calls < _UNFILLED:
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


_STATUS = Path("/proc/self/status")


def measure_peak_memory(
    job: Callable[[], object], device: torch.device, preload: str = __name__
) -> int:
    """Run `job` in a fresh process and return the most memory it took at once, in bytes.

    On a GPU its memory; else the process's high-water mark minus what it holds once the job's
    result is dropped, so that neither Python nor the libraries' code count. `preload` is a module
    that processes start with. Raises what `job` raises, and `OptionError` where it is killed.
    """
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":  # it loads torch once, each job gets a fork of it
        context.set_forkserver_preload([preload])
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_peak, job, device.type, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise OptionError(
                "measuring peak memory was ended from outside, maybe for lack of memory: "
                "try a smaller --batch"
            ) from error


def _peak(job: Callable[[], object], device: str, threads: int) -> int:
    torch.set_num_threads(threads)
    before = _high_water()
    job()
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    gc.collect()
    if not _STATUS.exists():  # macOS: no way to ask what is held now
        return _high_water() - before
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # glibc keeps what is freed
        ctypes.CDLL(None).malloc_trim(0)
    held, most = _field("VmRSS"), _field("VmHWM")
    return max(0, most - held)


def _high_water() -> int:
    if _STATUS.exists():
        return _field("VmHWM")
    # Bytes on macOS. On Linux it would be KiB, and that of the parent process if that was higher.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _field(name: str) -> int:
    """Return a field of this process's status (Linux), in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    assert found is not None, "the kernel tells it"
    return 1024 * int(found[1])


TokenBatch = Mapping[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)

_PASSES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A classifier in evaluation mode on a device, in 32-bit floats."""

    model: PreTrainedModel
    device: torch.device

    def __call__(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes), when they have come back to the host."""
        inputs = {name: torch.from_numpy(ids).to(self.device) for name, ids in tokens.items()}
        with torch.inference_mode():
            logits: torch.Tensor = self.model(**inputs).logits
        found: NDArray[np.float32] = logits.float().cpu().numpy()
        return found


def open_classifier(checkpoint: EncoderFiles, device: torch.device) -> Classifier:
    """Load a checkpoint to be timed, with as many labels as its config names; raises `ModelError`.

    Its head is drawn: a pre-trained encoder has none.
    """
    labels = read_config(checkpoint.folder, checkpoint.trust_remote_code).id2label
    model: Any = load_classifier(checkpoint, [str(labels[place]) for place in sorted(labels)], 0)
    return Classifier(model.to(device).eval(), device)


def open_trained(checkpoint: EncoderFiles, device: torch.device) -> Classifier:
    """Load a classifier as it was trained; raises `ModelError`."""
    model: Any = load_trained(checkpoint)
    return Classifier(model.to(device).eval(), device)


def count_flops(classifier: Classifier, batches: Sequence[TokenBatch]) -> int:
    """Count the floating-point operations of all batches, padding included.

    Products and sums of matrix products and attention; nothing else counts beside them.
    """
    # The counter does not know the processor's fused attention; written out it is counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for tokens in batches:
            classifier(tokens)
    return int(counter.get_total_flops())


def time_outside_layers(classifier: Classifier, batches: Sequence[TokenBatch]) -> float:
    """Measure which share of the time is spent outside the layers: embeddings, pooler, head.

    The median of some passes over all batches.
    """
    layers = encoder_layers(classifier.model)
    shares = []
    inside = _Stopwatch(classifier.device)
    hooks = [
        layers[0].register_forward_pre_hook(inside.start),
        layers[-1].register_forward_hook(inside.stop),
    ]
    try:
        for _ in range(_PASSES + 1):
            inside.seconds, started = 0.0, time.perf_counter()
            for tokens in batches:
                classifier(tokens)
            shares.append(1 - inside.seconds / (time.perf_counter() - started))
    finally:
        for hook in hooks:
            hook.remove()
    return max(0.0, median(shares[1:]))  # the first pass warms up


class _Stopwatch:
    """Adds up the time between two hooks, once the device has done all that was asked of it."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._since = 0.0
        self._wait: Callable[[], object] = {
            "cuda": torch.cuda.synchronize,
            "mps": torch.mps.synchronize,
        }.get(device.type, lambda: None)

    def start(self, *_: object) -> None:
        """Begin, before the first layer."""
        self._wait()
        self._since = time.perf_counter()

    def stop(self, *_: object) -> None:
        """End, behind the last layer."""
        self._wait()
        self.seconds += time.perf_counter() - self._since


MIN_ROUNDS = 6  # with fewer, not even the smallest and the largest value are a 95 % interval

_WARM_UP = 2  # rounds that do not count: they allocate memory and pick kernels

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """The median of some measurements, and its 95 % interval."""

    median: float
    low: float
    high: float


def measure_in_turns(
    calls: Mapping[_K, Callable[[], object]], rounds: int
) -> dict[_K, list[float]]:
    """Return the seconds that each call took in each round, after rounds that warm up.

    Every round makes all calls, every other one backwards, so that none always comes first.
    """
    seconds: dict[_K, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(-_WARM_UP, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            started = time.perf_counter()
            calls[name]()
            spent = time.perf_counter() - started
            if number >= 0:
                seconds[name].append(spent)
    return seconds


def median_interval(values: Sequence[float]) -> MedianInterval:
    """Return the median of at least `MIN_ROUNDS` values, with the interval by order statistics.

    It holds the true median with at least 95 % probability, whatever the distribution (David and
    Nagaraja, Order Statistics, section 7.1).

    >>> median_of([5, 1, 4, 2, 3, 6])
    Median(median=3.5, low=1, high=6)
    """
    assert len(values) >= MIN_ROUNDS, "an interval takes some rounds"
    ordered, number = sorted(values), len(values)
    outside, below = 0, 0.0
    while (below := below + math.comb(number, outside) / 2**number) <= 0.025:
        outside += 1
    return MedianInterval(
        statistics.median(ordered), ordered[outside - 1], ordered[number - outside]
    )
