"""Running a classifier without training it: its logits, its arithmetic, where its time goes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.folder import read_config
from autoprune.encoders.loading import load_classifier, load_trained
from autoprune.encoders.surgery import layers_of

Tokens = Mapping[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)

_PASSES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A classifier in evaluation mode on a device, in 32-bit floats."""

    model: PreTrainedModel
    device: torch.device

    def __call__(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes), when they have come back to the host."""
        inputs = {name: torch.from_numpy(ids).to(self.device) for name, ids in tokens.items()}
        with torch.inference_mode():
            logits: torch.Tensor = self.model(**inputs).logits
        found: NDArray[np.float32] = logits.float().cpu().numpy()
        return found


def open_classifier(checkpoint: Checkpoint, device: torch.device) -> Classifier:
    """Load a checkpoint to be timed, with as many labels as its config names; raises `ModelError`.

    Its head is drawn: a pre-trained encoder has none.
    """
    labels = read_config(checkpoint.folder, checkpoint.trust_remote_code).id2label
    model: Any = load_classifier(checkpoint, [str(labels[place]) for place in sorted(labels)], 0)
    return Classifier(model.to(device).eval(), device)


def open_trained(checkpoint: Checkpoint, device: torch.device) -> Classifier:
    """Load a classifier as it was trained; raises `ModelError`."""
    model: Any = load_trained(checkpoint)
    return Classifier(model.to(device).eval(), device)


def flops(classifier: Classifier, batches: Sequence[Tokens]) -> int:
    """Count the floating-point operations of all batches, padding included.

    Products and sums of matrix products and attention; nothing else counts beside them.
    """
    # The counter does not know the processor's fused attention; written out it is counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for tokens in batches:
            classifier(tokens)
    return int(counter.get_total_flops())


def share_outside(classifier: Classifier, batches: Sequence[Tokens]) -> float:
    """Measure which share of the time is spent outside the layers: embeddings, pooler, head.

    The median of some passes over all batches.
    """
    layers = layers_of(classifier.model)
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
