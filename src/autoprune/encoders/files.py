"""A model's folder: which of its files are used, whether they are whole, and their fingerprint."""

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
from autoprune.errors import ModelError, RemoteCodeError


@contextlib.contextmanager
def disable_progress_bars() -> Iterator[None]:
    """Hold back warnings, log lines and progress bars; errors are raised as ever."""
    bars, level = transformers_logging.is_progress_bar_enabled(), logging.root.manager.disable
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if bars:
            transformers_logging.enable_progress_bar()


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

_FRACTIONS = ("F16", "BF16", "F32", "F64")

# What transformers raises for a config, weights or a tokenizer that it cannot make sense of.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)


def pick_weight_files(names: Iterable[str], trust_remote_code: bool) -> list[str]:
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
) -> EncoderFiles:
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
    used = [folder / name for name in pick_weight_files(names, trust_remote_code)]
    _check_files(used)
    config = read_config(folder, trust_remote_code)
    weights = sum(_check_weights(folder / name) for name in _weight_files(folder, names))
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int) or not 1 <= depth <= weights:  # before so many are built
        raise ModelError(
            f"{folder / CONFIG} must say how many layers the model has, its {weights} weights are "
            f"not those of num_hidden_layers {depth!r}: mend it, or save the model again"
        )
    return EncoderFiles(encoder, folder, commit or _fingerprint(used), depth, trust_remote_code)


def read_config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """Read the model's config; raises `ModelError`."""
    fields = _read_json(folder / CONFIG)
    try:
        with no_warnings():
            return AutoConfig.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except UNREADABLE as error:
        if "auto_map" in fields and not trust_remote_code:
            raise RemoteCodeError(
                f"the model in {folder} runs code of its own: read that code, and if you trust it "
                "pass --trust-remote-code"
            ) from error
        raise ModelError(
            f"cannot use the config in {folder}: {first_line(error)}; mend {CONFIG}, or save the "
            "model again"
        ) from error


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Keep transformers from printing progress bars, reports on new heads, and warnings."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on sizes of nought, say
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return what `error` says as one line of at most 200 printable characters.

    A line that ends in a colon goes on with the next; a bare key is told to be one.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next(iter(lines), type(error).__name__)
    if text.endswith(":"):
        text = " ".join(lines[:2])
    elif isinstance(error, KeyError):
        text = f"there is no {text}"
    return "".join(letter for letter in text if letter.isprintable())[:200].rstrip(".")


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


def _check_files(paths: Iterable[Path]) -> None:
    """Refuse a folder, a pipe, a device or a broken link in a file's place."""
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} must be a file, it is none: copy the model's file there")


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


def _check_weights(path: Path) -> int:
    """Return how many weights a file holds, all of them fractions; the rest is not read."""
    try:
        with safe_open(path, framework="pt") as weights:
            kinds = {name: weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is cut off or broken, fetch it again: {first_line(error)}"
        ) from error
    if not kinds:
        raise ModelError(f"{path} holds no weights: save the model again")
    for name, kind in kinds.items():
        if name.endswith((".weight", ".bias")) and kind not in _FRACTIONS:
            raise ModelError(
                f"{path} holds {kind} where fractions should be ({first_line(ValueError(name))}): "
                "use the model as it was before it was quantised"
            )
    return len(kinds)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError too
        raise ModelError(f"{path} is not JSON: {first_line(error)}; copy it again") from error
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
