"""Layer-by-layer forward pass: run an encoder's layers one at a time; no weight is copied or moved.

How a layer is called, and what happens before, between and after the layers, differ from family to
family. So the model's own forward runs, with its list of layers replaced: once by stubs that record
how each layer is called, then by a stub that returns a given state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.pruning import encoder_layers

_TOLERANCE = 1e-4  # between logits in fp32 that differ by rounding alone


class LayerStack:
    """One batch in front of the layers of `model`, which can then be run in any order.

    A *state* is what a layer takes and returns: (rows, longest, hidden).
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> None:
        self._model, self._inputs = model, inputs
        self._list = encoder_layers(model)
        self._layers = list(self._list)
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []  # args and kwargs
        self._extra: tuple[Any, ...] | None = None  # what a layer returns besides the state
        self._before: list[tuple[nn.Module, Any]] = []  # embeddings and the like, with their output
        self._record_calls()

    def run_layer(self, state: torch.Tensor | None, layer: int) -> torch.Tensor:
        """Return the state after `layer`, run on `state`, or as the first layer (None)."""
        if state is None:
            return self._run_first(layer)
        args, kwargs = self._calls[layer]
        output = self._layers[layer](state, *args, **kwargs)
        return cast(torch.Tensor, output[0] if isinstance(output, tuple) else output)

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """Return the logits of a model whose last layer returned `state`: (rows, classes)."""
        skip = LayerStub(self._layers[0], lambda hidden, *_: self._as_output(hidden))
        last = LayerStub(self._layers[0], lambda *_: self._as_output(state))
        return self._run([skip, last])

    def _record_calls(self) -> None:
        """Run the model without its layers; record how each is called, and what runs before."""
        outputs: dict[nn.Module, list[Any]] = {}

        def record(hidden: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not self._calls:
                # ModernBERT calls one part twice, with two results: that one runs each time.
                self._before = [
                    (part, found[0]) for part, found in outputs.items() if len(found) == 1
                ]
                output = self._layers[0](hidden, *args, **kwargs)
                self._extra = output[1:] if isinstance(output, tuple) else None
            self._calls.append((args, kwargs))
            return self._as_output(hidden)

        hooks = [
            part.register_forward_hook(
                lambda part, _, output: outputs.setdefault(part, []).append(output)
            )
            for part in self._model.base_model.children()
        ]
        try:
            self._run([LayerStub(layer, record) for layer in self._layers])
        finally:
            for hook in hooks:
                hook.remove()

    def _run_first(self, layer: int) -> torch.Tensor:
        """Run `layer` as the first one, and what the family does between it and the second.

        DeBERTa-v2 has a convolution there.
        """
        states: list[torch.Tensor] = []

        def record(hidden: torch.Tensor, *_: Any) -> Any:
            states.append(hidden)
            return self._as_output(hidden)

        self._run([self._layers[layer], LayerStub(self._layers[0], record)])
        return states[0]

    def _as_output(self, state: torch.Tensor) -> Any:
        """Return `state` in the form in which this family's layers return it."""
        return state if self._extra is None else (state, *self._extra)

    def _run(self, layers: Sequence[nn.Module]) -> torch.Tensor:
        with ExitStack() as stack:
            stack.enter_context(replace_layers(self._model, self._list, layers))
            for part, output in self._before:
                stack.enter_context(_calling(part, lambda *_, output=output, **__: output))
            return cast(torch.Tensor, self._model(**self._inputs).logits)


class LayerStub(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Replaces a layer in the list and has its plain attributes; calls `function` instead."""

    def __init__(self, layer: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        # ModernBERT chooses a layer's mask by an attribute of the layer.
        self.__dict__.update({k: v for k, v in vars(layer).items() if not k.startswith("_")})
        self._function = function

    def forward(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns for the hidden state and the other arguments."""
        return self._function(hidden, args, kwargs)


@contextmanager
def first_token_only(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Let the last layer of `model` compute a row's first token alone inside the block.

    The head of a BERT reads no other. Where `model` does not give the same logits for `inputs` in
    evaluation mode, or where its layers are built unlike BERT's, it stays as it is.
    """
    layer = encoder_layers(model)[-1]
    short = LayerStub(layer, partial(_run_on_first_token, layer)).forward
    model.eval()
    same = False
    with torch.inference_mode(), suppress(AttributeError, IndexError, RuntimeError, TypeError):
        logits = model(**inputs).logits
        with _calling(layer, short):
            found = model(**inputs).logits
        same = logits.shape == found.shape and torch.allclose(
            logits, found, rtol=_TOLERANCE, atol=_TOLERANCE
        )
    with _calling(layer, short) if same else nullcontext():
        yield


def _run_on_first_token(
    layer: Any, hidden: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> torch.Tensor:
    """Return what `BertLayer.forward` does for the first token: (rows, 1, hidden)."""
    attention, first = layer.attention.self, hidden[:, :1]
    mask = args[0] if args else kwargs.get("attention_mask")

    def heads(states: torch.Tensor) -> torch.Tensor:
        split = states.unflatten(-1, (-1, attention.attention_head_size))
        return split.transpose(1, 2)  # (rows, heads, tokens, head size)

    context = nn.functional.scaled_dot_product_attention(
        heads(attention.query(first)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        None if mask is None else mask[:, :, :1],
        attention.dropout.p if layer.training else 0.0,
    )
    state = layer.attention.output(context.transpose(1, 2).flatten(2), first)
    return cast(torch.Tensor, layer.output(layer.intermediate(state), state))


@contextmanager
def replace_layers(
    model: PreTrainedModel, layers: nn.ModuleList, others: Sequence[nn.Module]
) -> Iterator[None]:
    """Let `model` have `others` in place of its `layers` inside the block."""
    parent, name = next(
        (part, name)
        for part in model.modules()
        for name, child in part.named_children()
        if child is layers
    )
    setattr(parent, name, nn.ModuleList(others))
    try:
        yield
    finally:
        setattr(parent, name, layers)


@contextmanager
def _calling(part: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Replace `part.forward` by `function` inside the block."""
    vars(part)["forward"] = function
    try:
        yield
    finally:
        del vars(part)["forward"]
