"""Model config: config.json, read with care and compared with the shapes of the weights.

Whoever made a model wrote its config. Nothing is built that is larger than the weight files.
"""

import contextlib
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights
from transformers.utils import logging as transformers_logging

from autoprune.errors import ModelError, RemoteCodeError, first_line
from autoprune.files import read_regular

CONFIG = "config.json"

MAX_JSON_BYTES = 16 << 20

_MAX_COUNT = 100_000  # labels, or layers: lists of so many are made while a config is read

# How many equal parts each layer has, or how many names of them.
_PARTS_OF_A_LAYER = ("num_feedforward_networks", "num_experts", "inner_group_num", "languages")

_NEW_WEIGHTS = 10_000_000  # 40 MB: what a model may be larger than its files, besides their size

_SIZES = (
    *("vocab_size", "max_position_embeddings", "type_vocab_size"),
    *("hidden_size", "intermediate_size", "embedding_size"),
)

# Fields by which transformers reads further files of the model.
_OTHER_FILES = {"transformers_weights": "other weights", "configuration_files": "other configs"}

_REPAIR = "correct it, or save the model again"

# What transformers raises for a config, weights or a tokenizer that it cannot read.
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError),
    *(ArithmeticError, AssertionError, RuntimeError, SafetensorError, StrictDataclassError),
)

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each weight in a model's safetensors files, by its name."""


@contextlib.contextmanager
def silence_libraries() -> Iterator[None]:
    """Suppress warnings, log messages and transformers' progress bars; errors are still raised."""
    had_bars, level = transformers_logging.is_progress_bar_enabled(), logging.root.manager.disable
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if had_bars:
            transformers_logging.enable_progress_bar()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of at most `MAX_JSON_BYTES`; raises `ModelError`."""
    try:
        fields = json.loads(read_regular(path, MAX_JSON_BYTES).decode())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # ValueError also where it is not UTF-8
        raise ModelError(f"{path} is not JSON: {first_line(error)}; copy it again") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path} must hold a JSON object, got a {type(fields).__name__}")
    return fields


def read_config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """Return the config of the model in `folder`; raises `ModelError`."""
    fields = read_json(folder / CONFIG)
    _check_fields(folder / CONFIG, fields)
    try:
        with silence_libraries():
            config = AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
            config.return_dict = True  # logits are read by their name
            return config
    except UNREADABLE as error:
        if "auto_map" in fields and not trust_remote_code:
            raise RemoteCodeError(
                f"the model in {folder} runs its own code: read that code, and if you trust it "
                "pass --trust-remote-code"
            ) from error
        raise ModelError(
            f"cannot use the config in {folder}: {first_line(error)}; correct {CONFIG}, or save "
            "the model again"
        ) from error


def model_without_weights(
    config: PreTrainedConfig, trust_remote_code: bool
) -> PreTrainedModel | None:
    """Return the classifier of `config` on the meta device, where weights have shapes only.

    None where transformers cannot build it.
    """
    try:
        with silence_libraries(), torch.device("meta"), no_init_weights():
            model = AutoModelForSequenceClassification.from_config(
                config, trust_remote_code=trust_remote_code
            )
    except UNREADABLE:
        return None
    assert isinstance(model, PreTrainedModel)
    return model


def check_sizes(
    folder: Path, config: PreTrainedConfig, shapes: Shapes, trust_remote_code: bool
) -> int:
    """Check that `config` tells of no larger a model than `shapes`; return its number of layers.

    Takes memory for names alone. Raises `ModelError`, which names the field.
    """
    path = folder / CONFIG
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int) or not 1 <= depth <= len(shapes):
        raise ModelError(
            f"{path} must say how many layers the model has, its {len(shapes)} weights are "
            f"not those of num_hidden_layers {depth!r}: {_REPAIR}"
        )
    for field in _PARTS_OF_A_LAYER:
        parts = getattr(config, field, None)
        parts = len(parts) if isinstance(parts, list | tuple) else parts
        if isinstance(parts, int) and depth * parts > max(len(shapes), _MAX_COUNT // 100):
            raise ModelError(
                f"{path} has {parts} {field} in each layer, its weights are only {len(shapes)}: "
                f"{_REPAIR}"
            )
    model = model_without_weights(config, trust_remote_code)
    if model is not None:
        _compare_shapes(path, model, shapes)
    return depth


def _check_fields(path: Path, fields: Mapping[str, Any]) -> None:
    """Refuse what would use memory, load other files or fail only later."""
    for field, kind in _OTHER_FILES.items():
        if field in fields:
            raise ModelError(
                f"{path} names {kind} in {field}, which are not checked: take that field out, and "
                "save the model in the usual files"
            )
    architectures = fields.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(n, str) for n in architectures):
        raise ModelError(f"{path} must have a list of names in architectures: {_REPAIR}")
    for field, share in fields.items():
        is_share = "dropout" in field and isinstance(share, int | float)
        if is_share and not 0 <= share <= 1:
            raise ModelError(f"{path} must have a {field} from 0 to 1, it has {share}: {_REPAIR}")
    rest: list[Any] = [fields]
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            rest += value.values()
            for field, count in value.items():
                is_count = field == "num_labels" or "layer" in field
                if is_count and isinstance(count, int) and count > _MAX_COUNT:
                    raise ModelError(
                        f"{path} has {field} {_short(count)}, no model has more than "
                        f"{_MAX_COUNT:,}: {_REPAIR}"
                    )


def _compare_shapes(path: Path, model: PreTrainedModel, shapes: Shapes) -> None:
    inside = {id(weight) for weight in model.base_model.parameters()}
    prefix = f"{model.base_model_prefix}."
    for name, weight in model.named_parameters():
        shape, held = tuple(weight.shape), shapes.get(name) or shapes.get(name.removeprefix(prefix))
        if id(weight) in inside and held is not None and held != shape:
            wrong = [size for size, saved in zip(shape, held, strict=False) if size != saved]
            raise ModelError(
                f"{path} does not fit its weights: by {_field(model, wrong)} {name} would be "
                f"{_dimensions(shape)}, it is {_dimensions(held)}: {_REPAIR}"
            )
    # A head, a pooler and tables that are never saved may be new; they are smaller than the rest.
    tensors = {id(each): (name, each) for name, each in _all_tensors(model)}
    size = sum(tensor.numel() for _, tensor in tensors.values())
    saved = sum(map(math.prod, shapes.values()))
    if size > 2 * saved + _NEW_WEIGHTS:
        name, largest = max(tensors.values(), key=lambda each: each[1].numel())
        shape, known = tuple(largest.shape), {each for shape in shapes.values() for each in shape}
        raise ModelError(
            f"{path} tells of a model of {size:,} numbers, its weights are {saved:,}: by "
            f"{_field(model, [each for each in shape if each not in known])} {name} would be "
            f"{_dimensions(shape)}: {_REPAIR}"
        )


def _all_tensors(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _field(model: PreTrainedModel, wrong: list[int]) -> str:
    """Return the field of the config, with its value, that most likely gave the sizes `wrong`."""
    fields = {
        name: value
        for name, value in model.config.to_dict().items()
        if type(value) is int
        and any(size == value or (size and value > 1 and size % value == 0) for size in wrong)
    }
    if not fields:
        return "its fields"
    name = max(fields, key=lambda name: (fields[name], name in _SIZES))
    return f"{name} {_short(fields[name])}"


def _dimensions(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**30 else "of over 30 digits"
