"""Fine-tuning methods: which weights of a pruned model are trained."""

import threading
import warnings
from collections.abc import Callable
from typing import Any, cast

from peft import LoraConfig, get_peft_model
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from autoprune.encoders.pruning import encoder_layers, head_parameters


def _train_head(model: PreTrainedModel) -> nn.Module:
    head = head_parameters(model)
    for name, weight in model.named_parameters():
        weight.requires_grad = name in head
    return model


def _add_adapters(model: PreTrainedModel) -> nn.Module:
    """Return the model with LoRA adapters on every linear map of its layers.

    Source: arXiv 2106.09685. Pooler and head are trained as well.
    """
    inside_layers = {id(module) for module in encoder_layers(model).modules()}
    adapted = [
        name
        for name, module in model.named_modules()
        if id(module) in inside_layers and isinstance(module, nn.Linear)
    ]
    # peft would freeze the pooler with its random weights unless it is named here.
    random_modules = sorted({name.rpartition(".")[0] for name in head_parameters(model)})
    config = LoraConfig(r=16, lora_alpha=32, target_modules=adapted, modules_to_save=random_modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft uses an old name of transformers
        return cast(nn.Module, get_peft_model(model, config))


METHODS: dict[str, Callable[[PreTrainedModel], nn.Module]] = {
    "full": lambda model: model,
    "lora": _add_adapters,
    "head": _train_head,
    "probe": _train_head,  # on cached activations of the frozen encoder, so without dropout in it
}

CACHES_ACTIVATIONS = ("probe",)
"""Methods whose frozen layers run without dropout, so that their activations can be cached."""


def merge_adapters(model: nn.Module) -> PreTrainedModel:
    """Return the plain model: adapters merged into its weights, every weight trainable.

    Merging rounds: logits differ by about 2e-7 from those of the model with adapters.
    """
    plain: Any = model
    if hasattr(plain, "merge_and_unload"):
        # peft shows a progress bar, for which tqdm makes a lock between processes. A process that
        # is stopped leaves it behind, and Python then warns of it. A lock of threads serves.
        tqdm.set_lock(threading.RLock())
        plain = plain.merge_and_unload()
    for weight in plain.parameters():
        weight.requires_grad = True
    return cast(PreTrainedModel, plain)
