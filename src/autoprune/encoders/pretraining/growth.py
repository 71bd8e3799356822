"""Growth: the first part of a training is run at half the depth, whose layers are then stacked.

A shallow model takes less time for a step, and its layers are a better beginning for a deep one
than random numbers are (Gong and others 2019, https://proceedings.mlr.press/v97/gong19a.html).
"""

from dataclasses import replace

import torch
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.pretraining.model import Measures, build
from autoprune.encoders.pretraining.training import State, optimizer_of

GROWN_AT = 0.5  # share of the course

_LAYERS = "bert.encoder.layer."


def seedling(measured: Measures) -> Measures:
    """Return the measures at half the depth, rounded up."""
    return replace(measured, layers=-(-measured.layers // 2))


def stacked(
    state: State, measured: Measures, tokenizer: PreTrainedTokenizerFast, seed: int
) -> State:
    """Return a training of the full depth: the layers of `state`, and again from the first on.

    The optimizer's moments are copied with the weights they belong to.
    """
    device = state.model.device
    model = build(measured, tokenizer, seed).to(device)
    grown = State(model, optimizer_of(model), state.step, state.seconds)
    old = dict(state.model.named_parameters())
    depth = state.model.config.num_hidden_layers
    for name, weight in model.named_parameters():
        source = old[_source(name, depth)]
        with torch.no_grad():
            weight.copy_(source)
        if source in state.optimizer.state:
            moments = state.optimizer.state[source]
            grown.optimizer.state[weight] = {key: one.clone() for key, one in moments.items()}
    return grown


def _source(name: str, depth: int) -> str:
    """Return the name of the weight that `name` is copied from.

    >>> _source("bert.encoder.layer.4.output.dense.bias", 3)
    'bert.encoder.layer.1.output.dense.bias'
    """
    if not name.startswith(_LAYERS):
        return name
    number, _, rest = name.removeprefix(_LAYERS).partition(".")
    return f"{_LAYERS}{int(number) % depth}.{rest}"
