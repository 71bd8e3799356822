"""Activation cache: a frozen encoder runs once for each row, and a step runs the head alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.layerwise import LayerStub, replace_layers
from autoprune.encoders.pruning import encoder_layers
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches
from autoprune.training.devices import mixed_precision
from autoprune.training.loop import load_batch

_TOLERANCE = 1e-4  # between logits in fp32 that differ by rounding alone

_MAX_CACHE_BYTES = 2 * 2**30  # a fixed number, so that free memory decides no score


@contextmanager
def cached_activations(
    model: PreTrainedModel, splits: Sequence[EncodedSplit], batch: int, device: torch.device
) -> Iterator[list[EncodedSplit]]:
    """Let `model`, in which the head alone is trained, take row numbers in place of tokens.

    The encoder runs on `batch` rows at a time, without dropout, and the state of each row's first
    token is kept. Yields the splits with the number of each row as its first token. Model and
    splits stay as they are where the states take more than 2 GiB, or where the head reads more
    than the first token of a row (the mean of all, as in ModernBERT and Nomic).
    """
    wrap = _try_cache(model, splits, device)
    if wrap is None:
        yield list(splits)
        return
    numbered, states, first = [], [], 0
    for split in splits:
        numbered.append(_number_rows(split, np.arange(len(split)), first))
        states.append(_encode_split(model, split, batch, device))
        first += len(split)
    with _cached_encoder(model, torch.cat(states), wrap):
        yield numbered


def _try_cache(
    model: PreTrainedModel, splits: Sequence[EncodedSplit], device: torch.device
) -> Callable[[torch.Tensor], Any] | None:
    """Return what makes a layer's output of a state; None where no cache can be used.

    Compares the logits of the two longest and the two shortest rows with and without it, in fp32.
    """
    model.eval()
    split = splits[0]
    order = np.argsort(-split.lengths, kind="stable")
    index = order[[0, 1, -2, -1]] if len(order) > 3 else order
    output, logits = _run_encoder(model, load_batch(split, index, device).inputs)
    state = _state_of(output)[:, 0]
    if sum(map(len, splits)) * state.shape[-1] * state.element_size() > _MAX_CACHE_BYTES:
        return None

    def wrap(state: torch.Tensor) -> Any:
        return (state, *output[1:]) if isinstance(output, tuple) else state

    inputs = load_batch(_number_rows(split, index, 0), index, device).inputs
    with _cached_encoder(model, state, wrap), torch.no_grad():
        cached = model(**inputs).logits
    same = logits.shape == cached.shape and torch.allclose(
        logits, cached, rtol=_TOLERANCE, atol=_TOLERANCE
    )
    return wrap if same else None


def _number_rows(split: EncodedSplit, index: NDArray[np.int64], first: int) -> EncodedSplit:
    """Return `split` with numbers from `first` on as first tokens of the rows `index`."""
    ids = np.zeros_like(split.ids)
    ids[split.starts[index]] = np.arange(first, first + len(index))
    return replace(split, ids=ids, pad_id=0)


def _encode_split(
    model: PreTrainedModel, split: EncodedSplit, batch: int, device: torch.device
) -> torch.Tensor:
    """Return the encoder's state of each row's first token, (rows, hidden), in their order."""
    states: torch.Tensor | None = None
    for index in length_sorted_batches(split.lengths, batch):
        with mixed_precision(model, device):
            output, _ = _run_encoder(model, load_batch(split, index, device).inputs)
        state = _state_of(output)[:, 0]
        if states is None:
            states = state.new_empty(len(split), state.shape[1])
        states[torch.from_numpy(index).to(device)] = state
    assert states is not None, "a split has rows"
    return states


def _run_encoder(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor]
) -> tuple[Any, torch.Tensor]:
    """Return what the last layer returned, and the logits (rows, classes)."""
    outputs: list[Any] = []
    hook = encoder_layers(model)[-1].register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output)
    )
    try:
        with torch.no_grad():
            logits = model(**inputs).logits
    finally:
        hook.remove()
    return outputs[0], logits


@contextmanager
def _cached_encoder(
    model: PreTrainedModel, states: torch.Tensor, wrap: Callable[[torch.Tensor], Any]
) -> Iterator[None]:
    """Let `model` take row numbers of `states` as tokens, and answer as if its layers had run."""
    layers, numbers = encoder_layers(model), list[torch.Tensor]()

    def keep_first_token(_: nn.Module, args: Any, inputs: dict[str, torch.Tensor]) -> Any:
        inputs = {name: values[:, :1] for name, values in inputs.items()}
        numbers[:] = [inputs["input_ids"]]
        return args, inputs | {"input_ids": torch.zeros_like(numbers[0])}

    def look_up(*_: Any) -> Any:
        return wrap(states[numbers[0]])

    # Two stubs, since DeBERTa-v2 has a convolution after its first layer.
    stubs = [LayerStub(layers[0], look_up) for _ in range(2)]
    hook = model.register_forward_pre_hook(keep_first_token, with_kwargs=True)
    try:
        with replace_layers(model, layers, stubs):
            yield
    finally:
        hook.remove()


def _state_of(output: Any) -> torch.Tensor:
    state: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return state
