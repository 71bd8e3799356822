"""Methods: which weights of a pruned model learn."""

import threading
import warnings
from collections.abc import Callable
from typing import Any, cast

from peft import LoraConfig, get_peft_model
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from autoprune.encoders.pruning import encoder_layers, head_parameters


def _all(model: PreTrainedModel) -> nn.Module:
    return model


def _head(model: PreTrainedModel) -> nn.Module:
    head = head_parameters(model)
    for name, weight in model.named_parameters():
        weight.requires_grad = name in head
    return model


def _lora(model: PreTrainedModel, first: int = 0) -> nn.Module:
    """Put adapters on the layers from the place `first` on."""
    layers = {id(part) for layer in encoder_layers(model)[first:] for part in layer.modules()}
    adapted = [
        name
        for name, part in model.named_modules()
        if id(part) in layers and isinstance(part, nn.Linear)
    ]
    # peft leaves the freshly drawn pooler as it was drawn unless it is named here.
    drawn = sorted({name.rpartition(".")[0] for name in head_parameters(model)})
    config = LoraConfig(r=16, lora_alpha=32, target_modules=adapted, modules_to_save=drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        return cast(nn.Module, get_peft_model(model, config))


def _lora_upper(model: PreTrainedModel) -> nn.Module:
    layers = encoder_layers(model)
    _hold_still(model, layers[len(layers) // 2 :])
    return _lora(model, len(layers) // 2)


def _hold_still(model: PreTrainedModel, moving: nn.ModuleList) -> None:
    """Run the encoder without dropout, but for its layers `moving` and its pooler."""
    apart = {id(part) for layer in moving for part in layer.modules()}
    for name, part in model.base_model.named_modules():
        inside = any(id(inner) in apart for inner in part.modules())
        if not inside and "pooler" not in name.split("."):
            part.eval()
            vars(part)["train"] = lambda mode=True, part=part: part  # noqa: ARG005


def merge_adapters(model: nn.Module) -> PreTrainedModel:
    """Return the plain model: adapters merged into its weights, every weight able to learn.

    Merging rounds: logits differ by about 2e-7 from those of the adapted model.
    """
    plain: Any = model
    if hasattr(plain, "merge_and_unload"):
        # peft's progress bar would make a lock between processes, which one that is told to end
        # leaves behind, and Python then warns of.
        tqdm.set_lock(threading.RLock())
        plain = plain.merge_and_unload()
    for weight in plain.parameters():
        weight.requires_grad = True
    for part in plain.modules():
        vars(part).pop("train", None)
    return cast(PreTrainedModel, plain)


CACHES_ACTIVATIONS = ("lora-upper", "probe")
"""Methods whose frozen layers run without dropout, so that the states they leave can be kept."""

# `lora`: arXiv 2106.09685, on every linear map of the kept layers, with pooler and head trained.
# `lora-upper`: the same on the upper half; the lower one runs without dropout, its states computed
# once.
# `probe`: `head` on states of the frozen layers computed once, so without dropout in them.
METHODS: dict[str, Callable[[PreTrainedModel], nn.Module]] = {
    "full": _all,
    "lora": _lora,
    "lora-upper": _lora_upper,
    "head": _head,
    "probe": _head,
}
