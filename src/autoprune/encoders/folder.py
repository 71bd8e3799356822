"""A model's folder: which of its files are used, whether they are whole, and their fingerprint."""

import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig

from autoprune.encoders.encoder import Checkpoint, Encoder
from autoprune.errors import ModelError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-*.safetensors"
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
TOKENIZER = (
    *VOCABULARIES,
    "merges.txt",
    "bpe.codes",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# Pickles can run code when they are read: they are named in errors and never opened.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

# What transformers raises for a config, weights or a tokenizer that it cannot make sense of.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)


def chosen(names: Iterable[str], trust_remote_code: bool) -> list[str]:
    """Return which of a model's files are used: config, safetensors, tokenizer; code if trusted.

    `names` are paths inside the model with forward slashes; only its top folder counts.
    """
    top = sorted(name for name in names if "/" not in name)
    patterns = [CONFIG, *TOKENIZER]
    patterns += [WEIGHTS] if WEIGHTS in top else [INDEX, SHARDS]
    patterns += ["*.py"] if trust_remote_code else []
    return [name for name in top if any(fnmatch(name, pattern) for pattern in patterns)]


def has_weights(names: Iterable[str]) -> bool:
    """Tell whether safetensors weights are among the file names `names`."""
    return bool({WEIGHTS, INDEX} & set(names))


def read_checkpoint(
    encoder: Encoder, folder: Path, commit: str = "", trust_remote_code: bool = False
) -> Checkpoint:
    """Check that `folder` holds a whole model and return it as a checkpoint.

    Without a `commit` its fingerprint stands for one. Raises `ModelError` that says what is wrong.
    """
    if not folder.is_dir():
        raise ModelError(f"a model is a folder with {CONFIG} in it, found none at {str(folder)!r}")
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ModelError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error
    _check_names(folder, names)
    config = read_config(folder, trust_remote_code)
    for name in _weight_files(folder, names):
        _check_weights(folder / name)
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int) or depth < 1:
        raise ModelError(f"the config must say how many layers the model has, got {folder}")
    commit = commit or _fingerprint([folder / name for name in chosen(names, trust_remote_code)])
    return Checkpoint(encoder, folder, commit, depth, trust_remote_code)


def read_config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """Read the model's config; raises `ModelError`."""
    fields = _read_json(folder / CONFIG)
    try:
        return AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except UNREADABLE as error:
        if "auto_map" in fields and not trust_remote_code:
            raise ModelError(
                f"the model in {folder} runs code of its own: read that code, and if you trust it "
                "pass --trust-remote-code"
            ) from error
        raise ModelError(f"cannot use the config in {folder}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return what `error` says as one line of at most 200 printable characters."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = next((line for line in lines if line), type(error).__name__)
    return "".join(letter for letter in text if letter.isprintable())[:200]


def _check_names(folder: Path, names: list[str]) -> None:
    if "adapter_config.json" in names:
        raise ModelError(
            f"{folder} holds an adapter (LoRA): merge it into its model, save, and pass that folder"
        )
    if CONFIG not in names:
        raise ModelError(f"a model folder holds {CONFIG}, {folder} does not")
    if not has_weights(names):
        if any(fnmatch(name, pattern) for name in names for pattern in _PICKLES):
            raise ModelError(
                f"{folder} has only pickled weights, which can run code when read: on a machine "
                f"you trust, load and save the model again to get {WEIGHTS}"
            )
        raise ModelError(f"a model folder holds {WEIGHTS}, {folder} does not: save the model there")
    if not any(fnmatch(name, pattern) for name in names for pattern in VOCABULARIES):
        raise ModelError(
            f"a model folder holds its tokenizer (tokenizer.json or vocab.txt), {folder} does not: "
            "save the tokenizer there"
        )


def _weight_files(folder: Path, names: list[str]) -> list[str]:
    if WEIGHTS in names:
        return [WEIGHTS]
    shards = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{folder / INDEX} names no weights: save the model again")
    for name in sorted(set(map(str, shards.values()))):
        if not fnmatch(name, SHARDS) or name not in names:
            raise ModelError(f"{folder / INDEX} names {name[:80]!r}, which is not there: copy it")
    return sorted(set(shards.values()))


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as weights:
            empty = not list(weights.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is cut off or broken, fetch it again: {first_line(error)}"
        ) from error
    if empty:
        raise ModelError(f"{path} holds no weights: save the model again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError too
        raise ModelError(f"{path} is not JSON: {first_line(error)}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path} must hold a JSON object, got a {type(fields).__name__}")
    return fields


def _fingerprint(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()[:32]}"
