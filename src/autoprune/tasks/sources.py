"""Where a task's rows come from: one function per kind of source; missing splits are cut."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from autoprune.errors import DataError, first_line, format_path, join_names
from autoprune.tasks.cleaning import has_text_and_label
from autoprune.tasks.download import download_files
from autoprune.tasks.formats import READERS, Column, RawTable, choose_column, read_table
from autoprune.tasks.splits import hold_out_rows
from autoprune.tasks.task import Columns, RawSplit, Task

SPELLINGS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}

_STEM = re.compile(rf"(?:.*[_.\- ])?({'|'.join(SPELLINGS)})", re.IGNORECASE | re.DOTALL)


def split_files(folder: Path) -> dict[str, Path]:
    """Return the file of each split in `folder`, told by the end of its name, in any case.

    `train.csv`, `SHC_Valid.csv` and `news.dev.jsonl` are such names. Raises `DataError` where two
    files claim one split, and where none holds the train rows.
    """
    found: dict[str, Path] = {}
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{format_path(folder)} must be readable, got: {error.strerror}") from error
    for path in names:
        match = _STEM.fullmatch(path.stem)
        if match is None or path.suffix.lower() not in READERS:
            continue
        split = SPELLINGS[match[1].lower()]
        if split in found:
            raise DataError(
                f"{format_path(folder)} must have one file for {split}, "
                f"got {join_names((found[split].name, path.name))}"
            )
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"{format_path(folder)} must have a train file (train.csv, .tsv, .jsonl or .parquet), "
            f"it has {join_names((path.name for path in names), most=6)}"
        )
    return found


def files_at(path: Path) -> dict[str, Path]:
    """Return the file of each split at `path`: a folder's, or a single file, which is all train."""
    if not path.exists():
        raise DataError(f"a task's file or folder must exist, nothing lies at {format_path(path)}")
    return split_files(path) if path.is_dir() else {"train": path}


def read_files(files: dict[str, Path], columns: Columns) -> dict[str, RawSplit]:
    """Read each split's file; raises `DataError`."""
    return {split: choose_column(read_table(file), columns) for split, file in files.items()}


def read_hub(name: str, columns: Columns) -> dict[str, RawSplit]:
    """Read the train, validation and test splits of the data set `org/name`.

    A split whose labels are all kept back (-1), as in GLUE, is left out. The files are fetched once
    into the cache of `datasets`; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` count. Raises
    `DataError`.
    """
    import datasets  # type: ignore[import-untyped]

    # HTTPError is the client's, be it httpx or httpx2.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    failures = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)

    hid_bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(name)
    except failures as error:
        raise DataError(
            f"cannot read the hub data set {name}: {first_line(error)}; see to the network, or "
            "download its files and give their folder"
        ) from error
    finally:
        if not hid_bars:
            datasets.enable_progress_bars()
    if "train" not in found:
        raise DataError(f"hub data set {name} must have a train split, it has {join_names(found)}")
    splits = {
        SPELLINGS[split]: choose_column(_table(f"{name} ({split})", rows), columns)
        for split, rows in found.items()
        if split in SPELLINGS
    }
    return {split: raw for split, raw in splits.items() if split == "train" or any(raw.labels)}


def _table(origin: str, rows: Any) -> RawTable:
    columns: dict[str, Sequence[object]] = {
        name: Column(origin, name, rows.data[name], partial(_name, feature))
        for name, feature in rows.features.items()
    }
    if not len(rows):
        raise DataError(f"{origin} must have rows, got none")
    return RawTable(origin, columns, [f"row {number}" for number in range(1, len(rows) + 1)])


def _name(feature: Any, value: Any) -> object:
    """Turn the numbers of a class label into its names; -1 stands for a label that is kept back."""
    names = getattr(feature, "names", None)
    if names is None or value is None:
        return value
    return names[value] if value >= 0 else None


MAHANEWS_FILE_NAMES = {"train": "Train", "validation": "Valid", "test": "Test"}

BASE_URL = "https://raw.githubusercontent.com/l3cube-pune"

# Below BASE_URL, `{}` for Train, Valid or Test. The first place that has all three serves the whole
# set: the Marathi part of IndicNews (arXiv 2401.02254) holds paragraphs with the same labels.
PLACES: dict[str, tuple[str, ...]] = {
    "SHC": ("MarathiNLP/main/L3Cube-MahaNews/SHC/SHC_{}.csv",),
    "LPC": (
        "MarathiNLP/main/L3Cube-MahaNews/LPC/LPC_{}.csv",
        "indic-nlp/main/L3Cube-IndicNews/Marathi/LPC/Marathi_LPC_{}.csv",
    ),
    "LDC": ("MarathiNLP/main/L3Cube-MahaNews/LDC/LDC_{}.csv",),
}


def mahanews_files(name: str, data_dir: Path | None) -> dict[str, Path]:
    """Return the file of each split of the set `name` (`SHC`): `SHC/SHC_Train.csv` and so on.

    They are looked for below `data_dir`, else below `AUTOPRUNE_DATA_DIR`, else fetched once into
    the user's cache (`AUTOPRUNE_CACHE_DIR`) from `AUTOPRUNE_DATA_URL` or the official
    repositories. Raises `DataError` naming what is missing.
    """
    given = data_dir or os.environ.get("AUTOPRUNE_DATA_DIR")
    if given:
        return _given(name, Path(given).expanduser())
    cache = os.environ.get("AUTOPRUNE_CACHE_DIR") or platformdirs.user_cache_dir("autoprune")
    folder = Path(cache).expanduser() / "mahanews" / name
    files = {split: folder / f"{name}_{word}.csv" for split, word in MAHANEWS_FILE_NAMES.items()}
    base = (os.environ.get("AUTOPRUNE_DATA_URL") or BASE_URL).rstrip("/")
    download_files(
        [
            {
                file.name: f"{base}/{place.format(MAHANEWS_FILE_NAMES[split])}"
                for split, file in files.items()
            }
            for place in PLACES[name]
        ],
        folder,
    )
    return files


def _given(name: str, data_dir: Path) -> dict[str, Path]:
    files = {
        split: data_dir / name / f"{name}_{word}.csv" for split, word in MAHANEWS_FILE_NAMES.items()
    }
    for path in (data_dir, data_dir / name, *files.values()):
        if not path.exists():
            raise DataError(
                f"the data folder must hold {name}/{name}_Train.csv, _Valid.csv and _Test.csv, "
                f"nothing lies at {format_path(path)}"
            )
    return files


SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class RawSplits:
    """The three splits as read, in the order of `SPLITS`; `hold_out_rows` names those cut off train."""

    splits: dict[str, RawSplit]
    cut: tuple[str, ...]


def read_source(task: Task, data_dir: Path | None, seed: int) -> RawSplits:
    """Read all of a task's rows, cut the splits that its source lacks; raises `DataError`."""
    kind, _, place = task.source.partition(":")
    read = SOURCES[kind](place, task.columns, data_dir)
    missing = [split for split in ("test", "validation") if split not in read]
    if missing:
        read |= hold_out_rows(read["train"], has_text_and_label(read["train"])[0], missing, seed)
    return RawSplits({split: read[split] for split in SPLITS}, tuple(missing))


def _official(name: str, columns: Columns, data_dir: Path | None) -> dict[str, RawSplit]:
    return read_files(mahanews_files(name, data_dir), columns)


def _package(name: str, columns: Columns, data_dir: Path | None) -> dict[str, RawSplit]:  # noqa: ARG001
    return read_files(files_at(Path(__file__).with_name(name)), columns)


def _files(place: str, columns: Columns, data_dir: Path | None) -> dict[str, RawSplit]:  # noqa: ARG001
    return read_files(files_at(Path(place)), columns)


def _hub(name: str, columns: Columns, data_dir: Path | None) -> dict[str, RawSplit]:  # noqa: ARG001
    return read_hub(name, columns)


SOURCES: dict[str, Callable[[str, Columns, Path | None], dict[str, RawSplit]]] = {
    "official": _official,
    "package": _package,
    "files": _files,
    "hub": _hub,
}
