"""Taking layers out of an encoder, so that what is saved reloads as what was measured."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from autoprune.errors import LayoutError, ModelError
from autoprune.layouts.layout import Layout

# Names under which configs hold one entry per layer; going by length instead would also cut
# `pos_att_type` of a two-layer DeBERTa.
_PER_LAYER = ("layer_types", "mlp_layer_types", "attention_window")

_NUMBERS = ("layer_idx", "layer_id")


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the encoder's layers: the one outermost `ModuleList` as long as the config says.

    Raises `ModelError` where layers are shared (ALBERT) or where no list, or several, match.
    """
    kind = model.config.model_type
    if kind == "albert":
        raise ModelError(
            "albert uses one and the same layer at every depth, so no layer can be taken out: "
            "choose another model"
        )
    depth = model.config.num_hidden_layers
    found: dict[str, nn.ModuleList] = {
        name: module
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    }
    # A list inside another belongs to its layers (MobileBERT's feed-forward networks).
    outer = [
        module
        for name, module in found.items()
        if not any(name.startswith(f"{other}.") for other in found)
    ]
    if len(outer) != 1:
        raise ModelError(
            f"a model to prune holds one list of its {depth} layers, "
            f"{kind} holds {len(outer)}: choose an encoder such as BERT"
        )
    return outer[0]


def keep_layers(model: PreTrainedModel, layout: Layout) -> None:
    """Remove from `model` in place all layers that `layout` does not keep; mend its config.

    The model saved afterwards reloads with plain transformers and gives the same logits. Raises
    `LayoutError` for a layout of another depth, or of layers that cannot take each other's place
    (ModernBERT without layer 0); `ModelError` as `encoder_layers` does.
    """
    check_layout(model, layout)
    layers, kept = encoder_layers(model), set(layout.keep)
    for layer in reversed(range(layout.depth)):
        if layer not in kept:
            del layers[layer]
    for place, block in enumerate(layers):
        for part in block.modules():
            for number in _NUMBERS:
                if isinstance(vars(part).get(number), int):
                    setattr(part, number, place)
    configs = (getattr(part, "config", None) for part in model.modules())
    for config in {id(c): c for c in configs if isinstance(c, PreTrainedConfig)}.values():
        prune_config(config, layout.keep)


def prune_config(config: PreTrainedConfig, keep: Sequence[int]) -> None:
    """Make `config` in place that of a model with only the layers `keep` of those it has."""
    for name in _PER_LAYER:
        entries = getattr(config, name, None)
        if isinstance(entries, list | tuple):
            setattr(config, name, [entries[layer] for layer in keep])
    config.num_hidden_layers = len(keep)


def head_parameters(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that a pre-trained encoder does not bring along.

    These are all outside `model.base_model`, and its pooler.
    """
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    return {
        name
        for name, parameter in model.named_parameters()
        if id(parameter) not in encoder or "pooler" in name.split(".")
    }


def check_layout(model: PreTrainedModel, layout: Layout) -> None:
    """Raise `LayoutError` for a layout that `keep_layers` would refuse; `model` stays as it is.

    That is one of another depth, or one where a reload would build, at some place, a layer unlike
    the one kept there.
    """
    layers = encoder_layers(model)
    if layout.depth != len(layers):
        raise LayoutError(
            f"layout {layout} is for {layout.depth} layers, {_name(model)} has {len(layers)}"
        )
    for place, layer in enumerate(layout.keep):
        if _shapes(layers[layer]) == _shapes(layers[place]):
            continue
        if model.config.model_type == "modernbert":
            raise LayoutError(
                f"layer 0 of ModernBERT must be kept, since a first layer has no attention norm "
                f"and layer {layer} in its place would lose its own on reload, got {layout}"
            )
        raise LayoutError(
            f"layer {layer} of {_name(model)} is built unlike layer {place}, whose place it "
            f"would take, so the saved model would not reload, got {layout}"
        )


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in layer.state_dict().items()}


def _name(model: PreTrainedModel) -> str:
    return str(model.name_or_path or f"this {model.config.model_type}")
