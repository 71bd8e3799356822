"""Fine-tuning methods: which weights of a pruned model are trained, and how the head starts."""

import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from autoprune.encoders.pruning import encoder_layers, head_parameters
from autoprune.errors import missing_package
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches, take_rows
from autoprune.training.activation_cache import cached_activations
from autoprune.training.loop import TrainingClock, forward, load_batch, output_shape
from autoprune.training.metrics import NO_WORD, Labels
from autoprune.training.problem_types import REGRESSION, ProblemType


def _train_head(model: PreTrainedModel) -> nn.Module:
    head = head_parameters(model)
    for name, weight in model.named_parameters():
        weight.requires_grad = name in head
    return model


def _add_adapters(model: PreTrainedModel) -> nn.Module:
    """Return the model with LoRA adapters on every linear map of its layers.

    Source: arXiv 2106.09685. Pooler and head are trained as well. Needs the extra `lora`.
    """
    from peft import LoraConfig, get_peft_model

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


def check_method_installed(method: str) -> None:
    """Raise `OptionError` where a method's package is not installed."""
    if method == "lora" and find_spec("peft") is None:
        raise missing_package("--method lora", "autoprune[lora]")


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


FITTED_ROWS = 600
"""To so many train rows a head is fitted: with all 2,393 of SHC it was no better."""

FITTED_WORDS = 4_000
"""To so many words of these rows, where each word has a label."""

_ROWS_PER_CLASS = 50

_DEVIATION = 0.5  # of what goes into the activation, where it is nearly linear


def fit_head(
    model: PreTrainedModel,
    split: EncodedSplit,
    labelled: NDArray[np.int64],
    problem_type: ProblemType,
    seed: int,
    device: torch.device,
) -> None:
    """Fit the new head of `model` to the states of its untrained layers, in place.

    A head drawn at random takes most of a short training to learn, and until then disturbs the
    layers. Its last linear map becomes that of `problem_type`, fitted to some of the rows with
    labels; a square map before it (BERT's pooler) scales each hidden unit to mean 0 and one
    deviation. A head of another form is scaled or fitted as far as it has these parts. Source:
    linear probing then fine-tuning, Kumar et al. 2022 (arXiv 2202.10054).
    """
    maps = _head_maps(model)
    if not maps:
        return
    rows = max(FITTED_ROWS, _ROWS_PER_CLASS * maps[-1].out_features)
    chosen = take_rows(split, np.random.default_rng(seed).permutation(labelled)[:rows])
    with cached_activations(model, [chosen], 32, device) as [cached], torch.no_grad():
        if len(maps) > 1:
            states = _inputs_of(maps[0], model, cached, device)
            means, deviations = states.mean(0), states.std(0, correction=0)
            # Units that hardly vary would be noise, and a small change of one far from 0 would
            # saturate the activation. With e5-12 a bound of a quarter to a 64th is as good.
            least = torch.maximum(0.1 * deviations.median() + 1e-6, means.abs() / 8)
            scales = _DEVIATION / torch.maximum(deviations, least)
            maps[0].weight.copy_(torch.diag(scales))
            maps[0].bias.copy_(-means * scales)
        features = _inputs_of(maps[-1], model, cached, device).cpu().numpy()
        labels = chosen.labels
        if problem_type.by_word:
            labels = labels[labels != NO_WORD][:FITTED_WORDS]
            features = features[:FITTED_WORDS]
        fitted = problem_type.fit(features, labels, maps[-1].out_features)
        if fitted is not None:
            maps[-1].weight.copy_(torch.from_numpy(fitted[0]))
            maps[-1].bias.copy_(torch.from_numpy(fitted[1]))


def center_head(model: PreTrainedModel, labels: Labels, problem_type: ProblemType) -> None:
    """Let a head drawn at random begin at the mean of numbers; others stay as they are, in place.

    A training of a few passes may end before the head has come from 0 to a year or a price.
    """
    maps = _head_maps(model)
    if problem_type is REGRESSION and maps:
        with torch.no_grad():
            maps[-1].bias.fill_(float(labels.mean()))


def _head_maps(model: PreTrainedModel) -> list[nn.Linear]:
    """Return the head's last linear map, and before it the one of the hidden size, if any."""
    head = head_parameters(model)
    maps = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in head and module.bias is not None
    ]
    last = [each for each in maps if each.out_features == model.config.num_labels][-1:]
    square = [
        each
        for each in maps
        if each.in_features == each.out_features == model.config.hidden_size and each not in last
    ]
    return [*square[-1:], *last] if last else []


def _inputs_of(
    module: nn.Module, model: PreTrainedModel, split: EncodedSplit, device: torch.device
) -> torch.Tensor:
    """Return what `module` gets for each row, or each word of the rows: (rows, features)."""
    model.eval()
    seen: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found: torch.Tensor | None = None
    try:
        for rows in length_sorted_batches(split.lengths, 32):
            batch = load_batch(split, rows, device)
            forward(model, batch, TrainingClock())
            part = seen.pop().float()
            part = part.reshape(len(rows), -1, part.shape[-1])
            # XLNet and others: (rows, 1)
            part = part[:, 0] if batch.words is None else batch.at_words(part)
            if found is None:
                found = part.new_zeros(output_shape(split, part.shape[-1]))
            index = torch.from_numpy(rows).to(found.device)
            if batch.words is None:
                found[index] = part
            else:
                found[index, : part.shape[1]] = part
    finally:
        hook.remove()
    assert found is not None, "there are rows"
    if split.words is None:
        return found
    return found[torch.from_numpy(split.labels != NO_WORD).to(found.device)]
