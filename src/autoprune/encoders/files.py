"""Model folder: which of its files are used, whether they are complete, and their fingerprint."""

import contextlib
import hashlib
import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError, RemoteCodeError, first_line
from autoprune.files import file_sha256

CONFIG = "config.json"

WEIGHTS = "model.safetensors"

_INDEX = "model.safetensors.index.json"

_SHARDS = "model-*.safetensors"

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")

_TOKENIZER_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

# Pickles can run code when they are read: they are named in errors and never opened.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

_FLOATING_POINT = ("F16", "BF16", "F32", "F64")

# What transformers raises for a config, weights or a tokenizer that it cannot read.
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError),
    *(ArithmeticError, AssertionError, RuntimeError, SafetensorError, StrictDataclassError),
)


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


def pick_weight_files(names: Iterable[str], trust_remote_code: bool) -> list[str]:
    """Return which of a model's files are used: config, safetensors, tokenizer; code if trusted.

    `names` are paths inside the model with forward slashes; only files of its top folder are used.
    """
    top = sorted(name for name in names if "/" not in name)
    patterns = [CONFIG, *_VOCABULARIES, "merges.txt", "bpe.codes", *_TOKENIZER_CONFIGS]
    patterns += [WEIGHTS] if WEIGHTS in top else [_INDEX, _SHARDS]
    patterns += ["*.py"] if trust_remote_code else []
    return [name for name in top if _matches_any(name, patterns)]


def has_weights(names: Iterable[str]) -> bool:
    """Return whether safetensors weights are among the file names `names`."""
    return bool({WEIGHTS, _INDEX} & set(names))


def read_checkpoint(
    encoder: Encoder, folder: Path, commit: str = "", trust_remote_code: bool = False
) -> EncoderFiles:
    """Check that `folder` holds a complete model, and return its files.

    Without a `commit`, the files' fingerprint takes its place. Raises `ModelError`.
    """
    if not folder.is_dir():
        raise ModelError(f"a model is a folder with {CONFIG} in it, found none at {str(folder)!r}")
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ModelError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error
    _check_names(folder, names)
    used = [folder / name for name in pick_weight_files(names, trust_remote_code)]
    for path in used:
        if not path.is_file():  # a folder, a pipe, a device or a broken link
            raise ModelError(f"{path} must be a file, it is none: copy the model's file there")
    config = read_config(folder, trust_remote_code)
    tensors = sum(_count_tensors(folder / name) for name in _weight_files(folder, names))
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int) or not 1 <= depth <= tensors:  # before so many layers are built
        raise ModelError(
            f"{folder / CONFIG} must say how many layers the model has, its {tensors} weights are "
            f"not those of num_hidden_layers {depth!r}: correct it, or save the model again"
        )
    return EncoderFiles(encoder, folder, commit or _fingerprint(used), depth, trust_remote_code)


def read_config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """Return the config of the model in `folder`; raises `ModelError`."""
    fields = _read_json(folder / CONFIG)
    try:
        with silence_libraries():
            return AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
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


def _matches_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _check_names(folder: Path, names: list[str]) -> None:
    if "adapter_config.json" in names:
        raise ModelError(
            f"{folder} holds an adapter (LoRA): merge it into its model, save, and pass that folder"
        )
    if CONFIG not in names:
        raise ModelError(f"a model folder holds {CONFIG}, {folder} does not")
    if not has_weights(names):
        if any(_matches_any(name, _PICKLES) for name in names):
            raise ModelError(
                f"{folder} has only pickled weights, which can run code when read: on a machine "
                f"you trust, load and save the model again to get {WEIGHTS}"
            )
        raise ModelError(f"a model folder holds {WEIGHTS}, {folder} does not: save the model there")
    if not any(_matches_any(name, _VOCABULARIES) for name in names):
        raise ModelError(
            f"a model folder holds its tokenizer (tokenizer.json or vocab.txt), {folder} does not: "
            "save the tokenizer there"
        )


def _weight_files(folder: Path, names: list[str]) -> list[str]:
    if WEIGHTS in names:
        return [WEIGHTS]
    shards = _read_json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{folder / _INDEX} names no weights: save the model again")
    files = sorted(set(map(str, shards.values())))
    for name in files:
        if not fnmatch(name, _SHARDS) or name not in names:
            raise ModelError(f"{folder / _INDEX} names {name[:80]!r}, which is not there: copy it")
    return files


def _count_tensors(path: Path) -> int:
    """Return how many tensors a file holds, after checking their types; reads only its header."""
    try:
        with safe_open(path, framework="pt") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is cut off or broken, fetch it again: {first_line(error)}"
        ) from error
    if not types:
        raise ModelError(f"{path} holds no weights: save the model again")
    for name, dtype in types.items():
        if name.endswith((".weight", ".bias")) and dtype not in _FLOATING_POINT:
            raise ModelError(
                f"{path} holds weights of type {dtype} ({first_line(ValueError(name))}), they must "
                "be floating-point numbers: use the model as it was before it was quantised"
            )
    return len(types)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # ValueError also where it is not UTF-8
        raise ModelError(f"{path} is not JSON: {first_line(error)}; copy it again") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path} must hold a JSON object, got a {type(fields).__name__}")
    return fields


def _fingerprint(paths: list[Path]) -> str:
    lines = "".join(f"{path.name}\0{file_sha256(path)}\n" for path in paths)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()[:32]}"
