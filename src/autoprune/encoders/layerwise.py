"""The stack of an encoder's layers, run one layer at a time: no weight is copied or moved.

How a layer is called, what happens between two layers and what follows the last one differ from
family to family. So the model's own forward is what runs, with its list of layers exchanged: once
for stand-ins that note how each layer is called, then for a stand-in that hands in a state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.pruning import check_layout, encoder_layers
from autoprune.layouts.layout import Layout

LayerInputs = Mapping[str, torch.Tensor]

LayerCall = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def run_single_layer(model: PreTrainedModel, layout: Layout) -> Iterator[None]:
    """Let `model` run as if `keep_layers` had pruned it to `layout`; afterwards it is whole again.

    The layers are the model's own, so that gradients reach them. Raises what `keep_layers` does.
    """
    check_layout(model, layout)
    layers = encoder_layers(model)
    with with_layers(model, layers, [layers[layer] for layer in layout.keep]):
        yield


class LayerStack:
    """One batch before the first layer of `model`, to be run up through any layers by any path.

    A *state* is what goes into the next place: (rows, longest, hidden).
    """

    def __init__(self, model: PreTrainedModel, inputs: LayerInputs) -> None:
        self._model, self._inputs = model, inputs
        self._list = encoder_layers(model)
        self._layers, self._place = list(self._list), _place_of(model, self._list)
        self._calls: list[LayerCall] = []
        self._rest: tuple[Any, ...] | None = None  # what a layer returns behind the state
        self._below: list[tuple[nn.Module, Any]] = []  # embeddings and the like, and their output
        self._note()

    def after(self, state: torch.Tensor | None, layer: int) -> torch.Tensor:
        """Return the state behind `layer`, run on `state`, or as the first layer (None)."""
        if state is None:
            return self._first(layer)
        args, named = self._calls[layer]
        return _state_of(self._layers[layer](state, *args, **named))

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """Return the logits of a model whose last layer left `state`: (rows, classes)."""
        skip = LayerStub(self._layers[0], lambda hidden, *_: self._answer(hidden))
        last = LayerStub(self._layers[0], lambda *_: self._answer(state))
        return self._run([skip, last])

    def _note(self) -> None:
        """Run the model without its layers; note how each would be called, and what comes below."""
        ran: dict[nn.Module, list[Any]] = {}

        def noting(hidden: torch.Tensor, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if not self._calls:
                # ModernBERT calls one part twice, with two results: that one runs each time.
                self._below = [(part, found[0]) for part, found in ran.items() if len(found) == 1]
                answer = self._layers[0](hidden, *args, **named)
                self._rest = answer[1:] if isinstance(answer, tuple) else None
            self._calls.append((args, named))
            return self._answer(hidden)

        hooks = [
            part.register_forward_hook(
                lambda part, _, found: ran.setdefault(part, []).append(found)
            )
            for part in self._model.base_model.children()
        ]
        try:
            self._run([LayerStub(layer, noting) for layer in self._layers])
        finally:
            for hook in hooks:
                hook.remove()

    def _first(self, layer: int) -> torch.Tensor:
        """Run `layer` in the first place, and what the family does between it and the second.

        DeBERTa-v2 has a convolution there.
        """
        seen: list[torch.Tensor] = []

        def noting(hidden: torch.Tensor, *_: Any) -> Any:
            seen.append(hidden)
            return self._answer(hidden)

        self._run([self._layers[layer], LayerStub(self._layers[0], noting)])
        return seen[0]

    def _answer(self, state: torch.Tensor) -> Any:
        """Return `state` in the form in which this family's layers return it."""
        return state if self._rest is None else (state, *self._rest)

    def _run(self, layers: Sequence[nn.Module]) -> torch.Tensor:
        with ExitStack() as stack:
            stack.enter_context(_exchanged_at(*self._place, self._list, layers))
            for part, found in self._below:
                stack.enter_context(_replayed(part, found))
            return cast(torch.Tensor, self._model(**self._inputs).logits)


class LayerStub(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """Takes a layer's place in the list, with the layer's plain attributes; `answer` is called."""

    def __init__(self, layer: nn.Module, answer: Callable[..., Any]) -> None:
        super().__init__()
        # ModernBERT chooses a layer's mask by what the layer says of itself.
        self.__dict__.update({k: v for k, v in vars(layer).items() if not k.startswith("_")})
        self._noted = answer

    def forward(self, hidden: torch.Tensor, *args: Any, **named: Any) -> Any:
        """Answer in the layer's place."""
        return self._noted(hidden, args, named)


@contextmanager
def with_layers(
    model: PreTrainedModel, layers: nn.ModuleList, others: Sequence[nn.Module]
) -> Iterator[None]:
    """Let `model` hold `others` in place of `layers` for a while."""
    with _exchanged_at(*_place_of(model, layers), layers, others):
        yield


def _place_of(model: PreTrainedModel, layers: nn.ModuleList) -> tuple[nn.Module, str]:
    """Return the part of `model` that holds the list of layers, and by which name."""
    return next(
        (part, name)
        for part in model.modules()
        for name, child in part.named_children()
        if child is layers
    )


@contextmanager
def _exchanged_at(
    parent: nn.Module, name: str, layers: nn.ModuleList, others: Sequence[nn.Module]
) -> Iterator[None]:
    setattr(parent, name, nn.ModuleList(others))
    try:
        yield
    finally:
        setattr(parent, name, layers)


@contextmanager
def _replayed(part: nn.Module, found: Any) -> Iterator[None]:
    """Let `part` return `found` for a while, without running."""
    vars(part)["forward"] = lambda *_, **__: found
    try:
        yield
    finally:
        del vars(part)["forward"]


def _state_of(answer: Any) -> torch.Tensor:
    return cast(torch.Tensor, answer[0] if isinstance(answer, tuple) else answer)
