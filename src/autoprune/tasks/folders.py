"""Folders: which files hold the train, validation and test rows, by the names that people use."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from autoprune.errors import DataError, format_path, join_names
from autoprune.tasks.formats import READERS
from autoprune.tasks.tags import PLAIN_SUFFIX

SPLITS = ("train", "validation", "test")

SPLIT_SPELLINGS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}

ARROW = ".arrow"

_SAVED = "state.json"  # stands beside the files of `Dataset.save_to_disk`

_WORD = rf"({'|'.join(SPLIT_SPELLINGS)})"

_AT_END = re.compile(rf"(?:.*[_.\- ])?{_WORD}", re.IGNORECASE | re.DOTALL)

_ANYWHERE = re.compile(rf"(?<![^\W\d_]){_WORD}(?![^\W\d_])", re.IGNORECASE)

_SHARD = re.compile(r"(.*)-(\d{5,6})-of-(\d{5,6})(.*)", re.DOTALL)


def check_split_names(origin: str, names: Iterable[str]) -> None:
    """Raise `DataError` where two splits mean the same, as dev and validation do."""
    by_split: dict[str, list[str]] = {}
    for name in names:
        if name in SPLIT_SPELLINGS:
            by_split.setdefault(SPLIT_SPELLINGS[name], []).append(name)
    for split, spellings in by_split.items():
        if len(spellings) > 1:
            raise DataError(
                f"{origin} must have one {split} split, it has {join_names(spellings)}: leave all "
                "but one out"
            )


def find_files(path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split at `path`; a single file is the train split.

    In a folder the name of a file or of a folder in it tells the split, in any case: `train.csv`,
    `SHC_Valid.csv`, `news.dev.jsonl`, `train_final.csv`, `test/part-1.csv`. A split may have
    several files: in a folder for this split alone, or as shards
    (`train-00000-of-00002.parquet`). A folder that `save_to_disk` of datasets wrote is read too.
    Without a train file, the one folder inside that has one is read, such as `data`. Raises
    `DataError` where two files match one split, where shards are missing, and where no file is
    train.
    """
    if not path.exists():
        raise DataError(
            f"a task's file or folder must exist, there is nothing at {format_path(path)}"
        )
    if not path.is_dir():
        return {"train": (path,)}
    if (path / _SAVED).is_file():
        return {"train": _saved_files(path)}
    files = _files_in(path)
    if "train" not in files:
        folders = [entry for entry in _entries(path) if entry.is_dir()]
        inner = {folder: found for folder in folders if "train" in (found := _files_in(folder))}
        if len(inner) > 1:
            raise DataError(
                f"{format_path(path)} has several data sets, in the folders "
                f"{join_names(folder.name for folder in inner)}: give one of them, such as "
                f"{format_path(next(iter(inner)))}"
            )
        for found in inner.values():
            return found
        raise DataError(
            f"{format_path(path)} must have a train file (train.csv, .tsv, .jsonl or .parquet), "
            f"it has {join_names((entry.name for entry in _entries(path)), most=6)}"
        )
    return files


def _files_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split in `folder`; without any, its CoNLL files that end in .txt."""
    return _files_with(folder, tuple(READERS)) or _files_with(folder, (PLAIN_SUFFIX,))


def _files_with(folder: Path, suffixes: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split that has a file or a folder in `folder`."""
    ends: dict[str, list[Path]] = {}  # `train.csv`
    folders: dict[str, list[Path]] = {}  # `train/`
    words: dict[str, list[Path]] = {}  # `train_final.csv`
    for entry in _entries(folder):
        if entry.is_dir():
            if (split := SPLIT_SPELLINGS.get(entry.name.lower())) and _files_in_split(entry):
                folders.setdefault(split, []).append(entry)
        elif entry.suffix.lower() in suffixes:
            shard = _SHARD.fullmatch(entry.name)
            name = shard[1] if shard else entry.stem
            inside = {SPLIT_SPELLINGS[word.lower()] for word in _ANYWHERE.findall(name)}
            if match := _AT_END.fullmatch(name):
                ends.setdefault(SPLIT_SPELLINGS[match[1].lower()], []).append(entry)
            elif len(inside) == 1:
                words.setdefault(inside.pop(), []).append(entry)
    found = {}
    for split in SPLITS:
        for kind in (ends, folders, words):
            if split in kind and split not in found:
                found[split] = _files_of(folder, split, kind[split])
    return found


def _files_of(folder: Path, split: str, entries: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of one split: a single file, all shards, or those of its folder."""
    kinds = set()
    for entry in entries:  # the names of shards may each end in a hash, after their number
        shard = _SHARD.fullmatch(entry.name)
        kinds.add((shard[1], shard[3], entry.suffix) if shard else entry.name)
    if len(kinds) > 1:
        raise DataError(
            f"{format_path(folder)} must have one file for {split}, got "
            f"{join_names(entry.name for entry in entries)}: rename or move what is not {split}, "
            f"or put all files of {split} in a folder {split}"
        )
    if entries[0].is_dir():
        return _files_in_split(entries[0])
    _check_shards(entries)
    return tuple(entries)


def _files_in_split(folder: Path) -> tuple[Path, ...]:
    if (folder / _SAVED).is_file():
        return _saved_files(folder)
    files = [entry for entry in _entries(folder) if entry.suffix.lower() in READERS]
    if len(suffixes := sorted({file.suffix.lower() for file in files})) > 1:
        raise DataError(
            f"{format_path(folder)} must have files of one format, got {join_names(suffixes)}"
        )
    _check_shards(files)
    return tuple(files)


def _saved_files(folder: Path) -> tuple[Path, ...]:
    """Return the Arrow files that `Dataset.save_to_disk` wrote."""
    try:
        state = json.loads((folder / _SAVED).read_text("utf-8"))
        names = [entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{format_path(folder / _SAVED)} is broken: save the data set again"
        ) from error
    files = tuple(folder / str(name) for name in names)
    for name, file in zip(names, files, strict=True):
        if Path(str(name)).name != name or not str(name).endswith(ARROW) or not file.is_file():
            raise DataError(
                f"{format_path(folder / _SAVED)} must name Arrow files beside it, got "
                f"{join_names([name])}: save the data set again"
            )
    if not files:
        raise DataError(f"{format_path(folder)} must have rows, its data set has none")
    return files


def _check_shards(files: Sequence[Path]) -> None:
    """Raise `DataError` where `train-00000-of-00002.parquet` and its like are not all there."""
    shards = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    numbers = [int(shard[2]) for shard in shards]
    if shards and numbers != list(range(int(shards[0][3]))):
        raise DataError(
            f"{format_path(files[0])} is one of {int(shards[0][3])} files, numbered from 0, and "
            f"{len(shards)} are there: fetch all of them, each once"
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{format_path(folder)} must be readable, got: {error.strerror}") from error
