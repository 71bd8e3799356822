"""Frozen layers: what they make of each row is computed once, and a step runs the rest alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.layerwise import LayerStub, with_layers
from autoprune.encoders.pruning import encoder_layers, head_parameters
from autoprune.tasks.tokenization import EncodedSplit, collate, length_sorted_batches
from autoprune.training.devices import fast_in_bfloat16, supports_bfloat16

CachePaths = NDArray[np.int64]

_CLOSE = 1e-4  # between logits in fp32 that differ by rounding alone

_SAME = {"rtol": 1e-5, "atol": 1e-6}  # between logits of a row alone and beside longer ones

_MOST = 2 * 2**30  # bytes of states to keep; a fixed figure, so that memory decides no score


@dataclass(frozen=True, slots=True)
class _Below:
    """The lowest layers of `model`, `count` of them, in which nothing learns, nor below them.

    `whole`: there are no others, so that a head which reads the first token of a row needs that
    one's state alone; else the states of all tokens are kept. `answer` is what the uppermost of
    them returns.
    """

    model: PreTrainedModel
    count: int
    whole: bool
    answer: Any = None

    def places(self, split: EncodedSplit, index: CachePaths) -> CachePaths:
        """Return where in `split.ids` the tokens of the rows `index` are whose states are kept."""
        starts, lengths = split.starts[index], split.lengths[index]
        if self.whole:
            return starts
        before = lengths.cumsum() - lengths
        return np.repeat(starts - before, lengths) + np.arange(lengths.sum())

    def kept(self, state: torch.Tensor, lengths: CachePaths) -> torch.Tensor:
        """Return of a state (rows, longest, hidden) what is kept, by token: (tokens, hidden)."""
        if self.whole:
            return state[:, 0]
        mask = np.arange(state.shape[1]) < lengths[:, None]
        return state[torch.from_numpy(mask).to(state.device)]

    def numbered(self, split: EncodedSplit, index: CachePaths, first: int) -> EncodedSplit:
        """Write numbers from `first` on for those tokens of the rows `index`; row 0 for padding."""
        places, ids = self.places(split, index), np.zeros_like(split.ids)
        ids[places] = np.arange(first, first + len(places))
        return replace(split, ids=ids, pad_id=0)

    def run(self, inputs: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Return what the uppermost answers, the state that goes on from it, and the logits."""
        layers, answers, states = encoder_layers(self.model), list[Any](), list[torch.Tensor]()
        hooks = [layers[self.count - 1].register_forward_hook(lambda _, __, it: answers.append(it))]
        if not self.whole:  # DeBERTa-v2 has a convolution between its first layer and the second
            above = layers[self.count]
            hooks.append(above.register_forward_pre_hook(lambda _, args: states.append(args[0])))
        try:
            with torch.no_grad():
                logits = self.model(**inputs).logits
        finally:
            for hook in hooks:
                hook.remove()
        return answers[0], states[0] if states else _state_of(answers[0]), logits

    @contextmanager
    def recalled(self, table: torch.Tensor) -> Iterator[None]:
        """Let the model take numbers for tokens, and go on from these rows of `table`."""
        layers, numbers = encoder_layers(self.model), list[torch.Tensor]()

        def cut(_: nn.Module, args: Any, named: dict[str, torch.Tensor]) -> Any:
            named = {name: part[:, :1] if self.whole else part for name, part in named.items()}
            numbers[:] = [named["input_ids"]]
            return args, named | {"input_ids": torch.zeros_like(numbers[0])}

        def recall(*_: Any) -> Any:
            state = table[numbers[0]]
            return (state, *self.answer[1:]) if isinstance(self.answer, tuple) else state

        # Two of them where there were two, since DeBERTa-v2 has a convolution behind the first.
        stands = [
            LayerStub(layers[0], recall) for _ in range(2 if self.whole else min(2, self.count))
        ]
        hook = self.model.register_forward_pre_hook(cut, with_kwargs=True)
        try:
            with with_layers(self.model, layers, [*stands, *layers[self.count :]]):
                yield
        finally:
            hook.remove()


@contextmanager
def cached_activations(
    model: nn.Module, splits: Sequence[EncodedSplit], rows: int, device: torch.device
) -> Iterator[list[EncodedSplit]]:
    """Let `model` answer for tokens by number, from the states that its frozen layers left.

    Yields the splits with numbers for tokens; `rows` go through the model at once. These layers run
    without dropout, as a state that is kept must not change. All stays as it is where nothing is
    frozen, where more than 2 GiB of states would be kept, or where the head of a wholly frozen
    encoder reads more than the first token of a row (ModernBERT's and Nomic's mean).
    """
    below = _tried(model, splits, device)
    if below is None:
        yield list(splits)
        return
    first, numbered, tables = 0, [], []
    for split in splits:
        numbered.append(below.numbered(split, np.arange(len(split)), first))
        tables.append(_states(below, split, rows, device))
        first += len(tables[-1])
    with below.recalled(torch.cat(tables)):
        yield numbered


def _frozen(model: nn.Module) -> _Below | None:
    """Return the frozen layers of `model`, which may have adapters; None where there are none."""
    plain: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers, head = encoder_layers(plain), head_parameters(plain)
    place = {id(w): number for number, layer in enumerate(layers) for w in layer.parameters()}
    learning = [
        place.get(id(weight), 0)  # one that is in no layer is below them
        for name, weight in plain.named_parameters()
        if weight.requires_grad and name not in head
    ]
    count = min(learning, default=len(layers))
    return _Below(plain, count, count == len(layers)) if count else None


def _tried(model: nn.Module, splits: Sequence[EncodedSplit], device: torch.device) -> _Below | None:
    """Return the frozen layers, if the rest gives the same logits on the states they left.

    Tried on the two longest and the two shortest rows, in fp32. Where tokens feel the padding next
    to them (ConvBERT's convolution, MobileBERT's embeddings), states depend on the batch.
    """
    below, split = _frozen(model), splits[0]
    if below is None:
        return None
    model.eval()
    order = np.argsort(-split.lengths, kind="stable")
    index = order[[0, 1, -2, -1]] if len(order) > 3 else order
    answer, state, logits = below.run(_inputs(split, index, device))
    count = sum(len(split) if below.whole else len(split.ids) for split in splits)
    if count * state.shape[-1] * state.element_size() > _MOST:
        return None
    if not below.whole:
        alone = below.run(_inputs(split, index[-1:], device))[2]
        if not torch.allclose(alone, logits[-1:], **_SAME):
            return None
    below = replace(below, answer=answer)
    numbered = _inputs(below.numbered(split, index, 0), index, device)
    with below.recalled(below.kept(state, split.lengths[index])), torch.no_grad():
        again = below.model(**numbered).logits
    return below if torch.allclose(logits, again, rtol=_CLOSE, atol=_CLOSE) else None


def _states(below: _Below, split: EncodedSplit, rows: int, device: torch.device) -> torch.Tensor:
    """Return the states that are kept of all rows, in the order of their tokens' numbers."""
    numbers = below.numbered(split, np.arange(len(split)), 0).ids
    fast = fast_in_bfloat16(device) and supports_bfloat16(below.model)
    table: torch.Tensor | None = None
    for index in length_sorted_batches(split.lengths, rows):
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            state = below.run(_inputs(split, index, device))[1]
        kept, places = below.kept(state, split.lengths[index]), below.places(split, index)
        if table is None:
            table = kept.new_empty(len(split) if below.whole else len(split.ids), kept.shape[1])
        table[torch.from_numpy(numbers[places].astype(np.int64)).to(device)] = kept
    assert table is not None, "a split has rows"
    return table


def _state_of(answer: Any) -> torch.Tensor:
    state: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
    return state


def _inputs(
    split: EncodedSplit, index: CachePaths, device: torch.device
) -> dict[str, torch.Tensor]:
    inputs = {name: part.to(device) for name, part in collate(split, index).items()}
    del inputs["labels"]
    return inputs
