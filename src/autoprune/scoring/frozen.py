"""A frozen encoder: what it makes of each row is computed once, and a step runs the head alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.stack import Stand, exchanged
from autoprune.encoders.surgery import head_parameters, layers_of
from autoprune.scoring.devices import fast_in_bfloat16, takes_bfloat16
from autoprune.tasks.batching import collate, in_order
from autoprune.tasks.tokenising import Encoded

Places = NDArray[np.int64]

_CLOSE = 1e-4  # between logits in fp32 that differ by rounding alone


def is_frozen(model: nn.Module) -> bool:
    """Tell whether the head alone learns."""
    if not isinstance(model, PreTrainedModel):  # it has adapters
        return False
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    return learning <= head_parameters(model)


@contextmanager
def computed_once(
    model: nn.Module, splits: Sequence[Encoded], rows: int, device: torch.device
) -> Iterator[list[Encoded]]:
    """Let a frozen `model` answer for rows by number, from the states its layers left.

    Yields the splits with each row's number for its first token; `rows` go through the model at
    once. The layers run without dropout, as a state that is kept must not change. Where an encoder
    learns, or a head reads more than the first token of a row (ModernBERT's and Nomic's mean), all
    stays as it is: a state for each token would not fit into memory.
    """
    answer = _tried(model, splits[0], device) if is_frozen(model) else None
    if answer is None:
        yield list(splits)
        return
    first, numbered, tables = 0, [], []
    for split in splits:
        numbered.append(_numbered(split, np.arange(len(split)), first))
        tables.append(_states(model, split, rows, device))
        first += len(split)
    with _answering(model, torch.cat(tables), answer):
        yield numbered


def _tried(model: nn.Module, split: Encoded, device: torch.device) -> Any:
    """Return how the last layer answers, or None where the head reads more than the first token.

    Tried on a few rows, the longest among them, in fp32.
    """
    model.eval()
    index = np.argsort(-split.lengths, kind="stable")[:4]
    answer, logits = _last(model, _inputs(split, index, device))
    numbered = _inputs(_numbered(split, index, 0), index, device)
    with _answering(model, _first(answer), answer), torch.no_grad():
        again = model(**numbered).logits
    return answer if torch.allclose(logits, again, rtol=_CLOSE, atol=_CLOSE) else None


def _numbered(split: Encoded, index: Places, first: int) -> Encoded:
    """Write numbers from `first` on for the first tokens of the rows at the places `index`."""
    ids = np.zeros_like(split.ids)
    ids[split.starts[index]] = np.arange(first, first + len(index))
    return replace(split, ids=ids)


def _states(model: nn.Module, split: Encoded, rows: int, device: torch.device) -> torch.Tensor:
    """Return the state of each row's first token behind the last layer: (rows, 1, hidden)."""
    pieces = in_order(split.lengths, rows)
    fast = fast_in_bfloat16(device) and takes_bfloat16(model)
    found = []
    for index in pieces:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            found.append(_first(_last(model, _inputs(split, index, device))[0]))
    back = np.argsort(np.concatenate(pieces))
    return torch.cat(found)[torch.from_numpy(back).to(device)]


def _last(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor]:
    """Return what the last layer answers, its state in front, and the logits."""
    left: list[Any] = []
    assert isinstance(model, PreTrainedModel)
    hook = layers_of(model)[-1].register_forward_hook(lambda _, __, found: left.append(found))
    try:
        with torch.no_grad():
            logits = model(**inputs).logits
    finally:
        hook.remove()
    return left[0], logits


@contextmanager
def _answering(model: nn.Module, table: torch.Tensor, answer: Any) -> Iterator[None]:
    """Let `model` take a row's number for its first token, and go on from that row of `table`.

    `answer` is what a layer of the family returns.
    """
    assert isinstance(model, PreTrainedModel)
    layers, numbers = layers_of(model), list[torch.Tensor]()

    def first_only(_: nn.Module, args: Any, named: dict[str, torch.Tensor]) -> Any:
        numbers[:] = [named["input_ids"][:, 0]]
        cut = {name: part[:, :1] for name, part in named.items()}
        return args, cut | {"input_ids": torch.zeros_like(cut["input_ids"])}

    def recall(*_: Any) -> Any:
        state = table[numbers[0]]
        return (state, *answer[1:]) if isinstance(answer, tuple) else state

    # Two of them, since DeBERTa-v2 has a convolution behind its first layer.
    stands = [Stand(layers[0], recall) for _ in range(2)]
    hook = model.register_forward_pre_hook(first_only, with_kwargs=True)
    try:
        with exchanged(model, layers, stands):
            yield
    finally:
        hook.remove()


def _first(answer: Any) -> torch.Tensor:
    """Return the state of each row's first token in what a layer answered: (rows, 1, hidden)."""
    state: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
    return state[:, :1]


def _inputs(split: Encoded, index: Places, device: torch.device) -> dict[str, torch.Tensor]:
    inputs = {name: part.to(device) for name, part in collate(split, index).items()}
    del inputs["labels"]
    return inputs
