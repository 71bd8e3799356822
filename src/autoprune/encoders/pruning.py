"""Pruning: remove layers, or embeddings of unused tokens, from an encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from autoprune.errors import LayoutError, ModelError
from autoprune.layouts.layout import Layout


def used_token_ids(pad_id: int, *ids: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the token ids that occur in any of `ids`, ascending, and all up to the padding's.

    The latter keep the padding's number unchanged: RoBERTa counts positions from it, and MPNet from
    number 1 whatever its tokenizer says.

    >>> used_token_ids(0, np.array([7, 3], dtype=np.int32))
    array([0, 1, 3, 7])
    """
    return np.unique(np.concatenate([np.arange(max(pad_id, 1) + 1), *ids])).astype(np.int64)


def keep_embedding_rows(model: PreTrainedModel, kept: NDArray[np.int64]) -> int:
    """Keep only the embedding rows `kept` of `model`, in place; return how many weights are gone.

    Token `kept[i]` becomes token `i`. On texts of these tokens, no logit and no gradient of another
    weight changes: a row that is never looked up has gradient zero. Two thirds of MahaBERT-v2's
    weights are such rows. For training only: the config keeps the old vocabulary.
    """
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding), "token embeddings are a table"
    pad = table.padding_idx
    assert pad is None or kept[pad] == pad, "padding keeps its number"
    rows = table.weight.detach()[torch.from_numpy(kept)].clone()
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pad))
    return int(table.weight.numel() - rows.numel())


def restore_embeddings(
    model: PreTrainedModel, weights: Mapping[str, NDArray[Any]], kept: NDArray[np.int64] | None
) -> None:
    """Load trained `weights` into `model` in place, which has the same layers and all tokens.

    Row `i` of their token embeddings belongs to token `kept[i]` (None: they have all rows); the
    other rows, left out of training, stay as they are in `model`. Raises RuntimeError where names
    or shapes differ.
    """
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    table = model.get_input_embeddings().weight
    name = next(name for name, weight in model.named_parameters() if weight is table)
    if kept is not None:
        whole = table.detach().clone()
        whole[torch.from_numpy(kept)] = state[name]
        state[name] = whole
    model.load_state_dict(state)


# Config fields with one entry per layer. Choosing them by their length instead would also cut
# `pos_att_type` of a two-layer DeBERTa.
_PER_LAYER_FIELDS = ("layer_types", "mlp_layer_types", "attention_window")

_LAYER_INDEX = ("layer_idx", "layer_id")  # attributes in which modules store their layer's number


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the encoder's layers: the outermost `ModuleList` with as many as the config says.

    `model` may have peft's adapters. Raises `ModelError` where layers are shared (ALBERT), and
    where no list or several match.
    """
    plain: Any = model
    if hasattr(plain, "get_base_model"):
        plain = plain.get_base_model()
    kind = plain.config.model_type
    if kind == "albert":
        raise ModelError(
            "albert uses the same layer at every depth, so no layer can be removed: "
            "choose another model"
        )
    depth = plain.config.num_hidden_layers
    lists: dict[str, nn.ModuleList] = {
        name: module
        for name, module in plain.base_model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    }
    # A list inside another belongs to its layers (MobileBERT's feed-forward networks).
    outer = [
        module
        for name, module in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists)
    ]
    if len(outer) != 1:
        raise ModelError(
            f"a model to prune holds one list of its {depth} layers, "
            f"{kind} holds {len(outer)}: choose an encoder such as BERT"
        )
    return outer[0]


def keep_layers(model: PreTrainedModel, layout: Layout) -> None:
    """Remove all layers that `layout` does not keep from `model` and its config, in place.

    The model saved afterwards reloads with plain transformers and gives the same logits. Raises
    `LayoutError` as `check_layout` and `ModelError` as `encoder_layers`.
    """
    check_layout(model, layout)
    layers, kept = encoder_layers(model), set(layout.keep)
    for layer in reversed(range(layout.depth)):
        if layer not in kept:
            del layers[layer]
    for index, layer_module in enumerate(layers):
        for module in layer_module.modules():
            for attribute in _LAYER_INDEX:
                if isinstance(vars(module).get(attribute), int):
                    setattr(module, attribute, index)
    configs = (getattr(module, "config", None) for module in model.modules())
    for config in {id(c): c for c in configs if isinstance(c, PreTrainedConfig)}.values():
        prune_config(config, layout.keep)


def prune_config(config: PreTrainedConfig, keep: Sequence[int]) -> None:
    """Change `config` in place to that of a model with only the layers `keep`."""
    for name in _PER_LAYER_FIELDS:
        entries = getattr(config, name, None)
        if isinstance(entries, list | tuple):
            setattr(config, name, [entries[layer] for layer in keep])
    config.num_hidden_layers = len(keep)


def head_parameters(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that a pre-trained encoder lacks.

    These are the pooler's, and all outside `model.base_model`.
    """
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    return {
        name
        for name, parameter in model.named_parameters()
        if id(parameter) not in encoder or "pooler" in name.split(".")
    }


def check_layout(model: PreTrainedModel, layout: Layout) -> None:
    """Check that `model` can be pruned to `layout`; `model` is not changed.

    Raises `LayoutError` for a layout of another depth, and for one where reloading would build a
    layer of another shape than the one kept at its place (ModernBERT without layer 0).
    """
    layers = encoder_layers(model)
    if layout.depth != len(layers):
        raise LayoutError(
            f"layout {layout} is for {layout.depth} layers, {_name(model)} has {len(layers)}"
        )
    for index, layer in enumerate(layout.keep):
        if _shapes(layers[layer]) == _shapes(layers[index]):
            continue
        if model.config.model_type == "modernbert":
            raise LayoutError(
                f"layer 0 of ModernBERT must be kept, since a first layer has no attention norm "
                f"and layer {layer} in its place would lose its own on reload, got {layout}"
            )
        raise LayoutError(
            f"layer {layer} of {_name(model)} is built unlike layer {index}, whose place it "
            f"would take, so the saved model would not reload, got {layout}"
        )


def can_have(model: PreTrainedModel, layout: Layout) -> bool:
    """Return whether `check_layout` lets `layout` pass."""
    try:
        check_layout(model, layout)
    except LayoutError:
        return False
    return True


def required_layers(model: PreTrainedModel) -> tuple[int, ...]:
    """Return the layers that every layout keeps: the first, where they are built unlike the others.

    That is layer 0 of ModernBERT, and none of the other families.
    """
    shapes = [_shapes(layer) for layer in encoder_layers(model)]
    last = max((i for i in range(len(shapes) - 1) if shapes[i] != shapes[i + 1]), default=-1)
    return tuple(range(last + 1))


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in layer.state_dict().items()}


def _name(model: PreTrainedModel) -> str:
    return str(model.name_or_path or f"this {model.config.model_type}")
