"""Model folder: which of its files are used, whether they are complete, and their fingerprint."""

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError, safe_open

from autoprune.encoders.config import CONFIG, MAX_JSON_BYTES, check_sizes, read_config, read_json
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError, first_line
from autoprune.files import file_sha256, is_file, is_folder

WEIGHTS = "model.safetensors"

_INDEX = "model.safetensors.index.json"

_SHARDS = "model-*.safetensors"

VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")

_VOCABULARIES = (*VOCABULARY_FILES, "*.model")

# tekken.json: transformers takes it for the vocabulary where there is no tokenizer.json.
_FURTHER_VOCABULARIES = ("merges.txt", "bpe.codes", "tekken.json")

_CHAT_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")

_SPECIAL = "special_tokens_map.json"

_TOKENIZER_CONFIGS = ("tokenizer_config.json", _SPECIAL, "added_tokens.json")

_FILE_FIELDS = ("_file", "_files")

# Pickles can run code when they are read: they are named in errors and never opened.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

_MAX_VOCABULARY_BYTES = 128 << 20  # the largest tokenizers in use have 35 MB

_FLOATING_POINT = ("F16", "BF16", "F32", "F64")


def pick_weight_files(names: Iterable[str], trust_remote_code: bool) -> list[str]:
    """Return which of a model's files are used: config, safetensors, tokenizer; code if trusted.

    `names` are paths inside the model with forward slashes; only files of its top folder are used.
    """
    top = sorted(name for name in names if "/" not in name)
    patterns = [CONFIG, *_VOCABULARIES, *_FURTHER_VOCABULARIES, *_TOKENIZER_CONFIGS]
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
    if not is_folder(folder):
        raise ModelError(f"a model is a folder with {CONFIG} in it, found none at {str(folder)!r}")
    names = list_names(folder)
    _check_names(folder, names)
    used = [folder / name for name in pick_weight_files(names, trust_remote_code)]
    _check_used(used)
    check_tokenizer_files(folder)
    config = read_config(folder, trust_remote_code)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in _weight_files(folder, names):
        shapes |= _read_shapes(folder / name)
    depth = check_sizes(folder, config, shapes, trust_remote_code)
    return EncoderFiles(encoder, folder, commit or _fingerprint(used), depth, trust_remote_code)


def check_tokenizer_files(folder: Path) -> None:
    """Refuse what would take all memory when a tokenizer is read, or name a file elsewhere.

    Raises `ModelError`.
    """
    used = [name for name in pick_weight_files(list_names(folder), False) if name != CONFIG]
    _check_used([folder / name for name in used if not name.endswith(".safetensors")])
    templates = sorted(path for pattern in _CHAT_TEMPLATES for path in folder.glob(pattern))
    if sum(path.stat().st_size for path in templates if path.is_file()) > MAX_JSON_BYTES:
        raise ModelError(
            f"{templates[0]} has, with other chat templates, more than {MAX_JSON_BYTES >> 20} MiB: "
            "remove them, they are not used"
        )
    # What names a file in the special tokens replaces the vocabulary; in the config only this does.
    for name, ends in (("tokenizer_config.json", "fast_tokenizer_files"), (_SPECIAL, _FILE_FIELDS)):
        fields = read_json(folder / name) if name in used else {}
        for field in fields:
            if field.endswith(ends):
                raise ModelError(
                    f"{folder / name} names another file in {field[:80]}, which is not checked: "
                    "take that field out, and save the tokenizer in the usual files"
                )


def list_names(folder: Path) -> list[str]:
    """Return the names of what is in a model's folder; raises `ModelError`."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ModelError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error


def _check_used(paths: Iterable[Path]) -> None:
    for path in paths:
        if not is_file(path):  # a folder, a pipe, a device or a broken link
            raise ModelError(f"{path} must be a file, it is none: copy the model's file there")
        _check_length(path)


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
    shards = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{folder / _INDEX} names no weights: save the model again")
    files = sorted(set(map(str, shards.values())))
    for name in files:
        if not fnmatch(name, _SHARDS) or name not in names:
            raise ModelError(f"{folder / _INDEX} names {name[:80]!r}, which is not there: copy it")
    return files


def _read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight in a file, by its header; check the types."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            types = {name: each.get_dtype() for name, each in slices.items()}
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
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
    return shapes


def _check_length(path: Path) -> None:
    """Refuse a tokenizer or a config of a size that would take all memory when it is read."""
    if path.suffix == ".safetensors":
        return
    most = _MAX_VOCABULARY_BYTES if _matches_any(path.name, _VOCABULARIES) else MAX_JSON_BYTES
    if path.stat().st_size > most:
        raise ModelError(
            f"{path} has more than {most >> 20} MiB, too many for such a file: copy it again"
        )


def _fingerprint(paths: list[Path]) -> str:
    lines = "".join(f"{path.name}\0{file_sha256(path)}\n" for path in paths)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()[:32]}"
