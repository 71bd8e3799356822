"""Data sources: read a task's rows from files, the hub, the package or the MahaNews release."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
from huggingface_hub import HfApi, constants

from autoprune.encoders.hub import UnreachableError, call_hub
from autoprune.encoders.registry import package_folder
from autoprune.errors import (
    DataError,
    HubError,
    first_line,
    format_path,
    join_names,
    missing_package,
    quote,
)
from autoprune.tasks.cleaning import find_scorable_rows
from autoprune.tasks.download import download_files
from autoprune.tasks.folders import ARROW, SPLIT_SPELLINGS, SPLITS, find_files
from autoprune.tasks.formats import open_table
from autoprune.tasks.labels import merge_spellings, unify_numbers
from autoprune.tasks.parquet_files import arrow_table, open_arrow
from autoprune.tasks.splits import hold_out_rows
from autoprune.tasks.table import DataTable, select_columns
from autoprune.tasks.task import Columns, RawSplit, Task

_MAHANEWS_SPLITS = {"train": "Train", "validation": "Valid", "test": "Test"}

_BASE_URL = "https://raw.githubusercontent.com/l3cube-pune"

# Below the base URL, `{}` for Train, Valid or Test. The first mirror that has all three serves the
# whole set: the Marathi part of IndicNews (arXiv 2401.02254) has paragraphs with the same labels.
_MIRRORS: dict[str, tuple[str, ...]] = {
    "SHC": ("MarathiNLP/main/L3Cube-MahaNews/SHC/SHC_{}.csv",),
    "LPC": (
        "MarathiNLP/main/L3Cube-MahaNews/LPC/LPC_{}.csv",
        "indic-nlp/main/L3Cube-IndicNews/Marathi/LPC/Marathi_LPC_{}.csv",
    ),
    "LDC": ("MarathiNLP/main/L3Cube-MahaNews/LDC/LDC_{}.csv",),
}


_MOST_CONFIGURATIONS = 20  # that a message lists


def read_source(
    task: Task, data_dir: Path | None, seed: int, merge_labels: bool = False
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """Return train, validation and test as read, and the names of those held out of train.

    The latter are the splits that the source lacks. With `merge_labels`, labels that differ only in
    case, spaces or Unicode form are one. Raises `DataError`.
    """
    kind, _, location = task.source.partition(":")
    splits = unify_numbers(SOURCES[kind](location, task.columns, data_dir))
    if merge_labels:
        splits = merge_spellings(splits, task.labels)
    missing = [split for split in ("test", "validation") if split not in splits]
    if missing:
        scorable, *_ = find_scorable_rows(splits["train"])
        splits |= hold_out_rows(splits["train"], scorable, missing, seed)
    return {split: splits[split] for split in SPLITS}, tuple(missing)


def read_files(files: dict[str, tuple[Path, ...]], columns: Columns) -> dict[str, RawSplit]:
    """Read the files of each split, one after another; raises `DataError`."""
    return {
        split: _join([select_columns(_open_file(path), columns, split) for path in paths])
        for split, paths in files.items()
    }


def _read_path(path: Path, columns: Columns) -> dict[str, RawSplit]:
    """Read a file or a folder; the notes say which files of a folder are which split."""
    splits = read_files(find_files(path), columns)
    if not path.is_dir():
        return splits
    return {
        split: replace(raw, notes=(*raw.notes, f"rows from {raw.origin}"))
        for split, raw in splits.items()
    }


def _open_file(path: Path) -> DataTable:
    return open_arrow(path) if path.suffix == ARROW else open_table(path)


def _join(parts: list[RawSplit]) -> RawSplit:
    """Return the rows of all parts of a split; raises `DataError` where their columns differ."""
    first = parts[0]
    for part in parts[1:]:
        if (part.text_column, part.label_column) != (first.text_column, first.label_column):
            raise DataError(
                f"files of one split must have the same columns, {part.origin} has "
                f"{join_names((part.text_column, part.label_column))} and {first.origin} "
                f"{join_names((first.text_column, first.label_column))}"
            )
    if len(parts) == 1:
        return first
    return replace(
        first,
        origin=f"{first.origin} and {len(parts) - 1} more",
        texts=tuple(text for part in parts for text in part.texts),
        labels=tuple(label for part in parts for label in part.labels),
        pairs=first.pairs and tuple(pair for part in parts for pair in part.pairs or ()),
        classes=tuple(dict.fromkeys(name for part in parts for name in part.classes)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def read_hub(name: str, columns: Columns) -> dict[str, RawSplit]:
    """Read the splits of the data set `org/name`, or of its configuration `org/name:config`.

    A split whose labels are all hidden (-1), as in GLUE, is left out. The files are downloaded once
    into the cache of `datasets`; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` apply. Raises
    `DataError`, `HubError`, and `OptionError` without the extra `hub-datasets`.
    """
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError:
        raise missing_package(
            f"a data set of the hub ({name})", "autoprune[hub-datasets]"
        ) from None

    had_bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset = _load_hub(name)
    finally:
        if had_bars:
            datasets.enable_progress_bars()
    splits = {SPLIT_SPELLINGS[split]: split for split in dataset if split in SPLIT_SPELLINGS}
    if "train" not in splits:
        raise DataError(
            f"hub data set {name} must have a train split, it has {join_names(dataset)}"
        )
    read = {}
    for split, stored in splits.items():
        rows, origin = dataset[stored], f"{name} ({stored})"
        classes = {
            column: feature.names
            for column, feature in rows.features.items()
            if getattr(feature, "names", None) is not None
        }
        read[split] = select_columns(arrow_table(origin, rows.data, classes), columns)
    return {split: raw for split, raw in read.items() if split == "train" or any(raw.labels)}


def _load_hub(name: str) -> Any:
    """Return the `DatasetDict` of `org/name` or `org/name:config`."""
    import datasets

    # HTTPError is the client's, be it httpx or httpx2.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    failures = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)
    repository, _, configuration = name.partition(":")
    unreachable = _ask_hub(repository)
    try:
        return datasets.load_dataset(repository, configuration or None)
    except failures as error:
        if unreachable is not None:
            raise unreachable from error
        known: list[str] = []
        if isinstance(error, ValueError) and not constants.HF_HUB_OFFLINE:
            with suppress(*failures):
                known = datasets.get_dataset_config_names(repository)
        if known and configuration not in known:
            has = f"no configuration {quote(configuration)}"
            raise DataError(
                f"hub data set {repository} has "
                f"{has if configuration else 'several configurations'}: give one of them, such as "
                f"{repository}:{known[0]}; they are {join_names(known, _MOST_CONFIGURATIONS)}"
            ) from error
        remedy = "download its files and give their folder"
        if isinstance(error, ConnectionError) and constants.HF_HUB_OFFLINE:
            remedy = "unset HF_HUB_OFFLINE once to fetch it, or use local files"
        if "gated" in str(error):
            remedy = "ask for access there, then set HF_TOKEN"
        reason = first_line(error.__cause__ or error)
        raise DataError(f"cannot read the hub data set {name}: {reason}; {remedy}") from error


def _ask_hub(repository: str) -> HubError | None:
    """Return why the hub cannot be reached, else None; a cached copy may serve.

    Raises `HubError` where it says that there is no such data set, or not for us.
    """
    if constants.HF_HUB_OFFLINE:
        return None
    try:
        call_hub(f"data set {repository}", partial(HfApi().dataset_info, repository, timeout=30.0))
    except UnreachableError as error:
        return error
    return None


def mahanews_files(name: str, data_dir: Path | None) -> dict[str, Path]:
    """Return the file of each split of the set `name` (`SHC`): `SHC/SHC_Train.csv` and so on.

    They are in `data_dir`, else in `AUTOPRUNE_DATA_DIR`, else they are downloaded once into the
    user's cache (`AUTOPRUNE_CACHE_DIR`) from `AUTOPRUNE_DATA_URL` or the official repositories.
    Raises `DataError` that names what is missing.
    """
    given = data_dir or os.environ.get("AUTOPRUNE_DATA_DIR")
    cache = os.environ.get("AUTOPRUNE_CACHE_DIR") or platformdirs.user_cache_dir("autoprune")
    root = Path(given) if given else Path(cache) / "mahanews"
    folder = root.expanduser() / name
    files = {split: folder / f"{name}_{word}.csv" for split, word in _MAHANEWS_SPLITS.items()}
    if given:
        for path in (folder.parent, folder, *files.values()):
            if not path.exists():
                raise DataError(
                    f"the data folder must hold {name}/{name}_Train.csv, _Valid.csv and _Test.csv, "
                    f"there is nothing at {format_path(path)}"
                )
        return files
    base = (os.environ.get("AUTOPRUNE_DATA_URL") or _BASE_URL).rstrip("/")
    mirrors = [
        {
            files[split].name: f"{base}/{mirror.format(word)}"
            for split, word in _MAHANEWS_SPLITS.items()
        }
        for mirror in _MIRRORS[name]
    ]
    download_files(mirrors, folder)
    return files


SOURCES: dict[str, Callable[[str, Columns, Path | None], dict[str, RawSplit]]] = {
    "official": lambda name, columns, data_dir: read_files(
        {split: (file,) for split, file in mahanews_files(name, data_dir).items()}, columns
    ),
    "package": lambda name, columns, _: read_files(
        find_files(package_folder("tasks", name)), columns
    ),
    "files": lambda path, columns, _: _read_path(Path(path), columns),
    "hub": lambda name, columns, _: read_hub(name, columns),
}
