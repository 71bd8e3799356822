"""Data sources: read a task's rows from files, the hub, the package or the MahaNews release."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from autoprune.errors import DataError, first_line, format_path, join_names
from autoprune.tasks.cleaning import find_scorable_rows
from autoprune.tasks.download import download_files
from autoprune.tasks.formats import READERS, open_table
from autoprune.tasks.parquet_files import column_values
from autoprune.tasks.splits import hold_out_rows
from autoprune.tasks.table import Row, Table, select_columns
from autoprune.tasks.task import Columns, RawSplit, Task

_SPLITS = ("train", "validation", "test")

_SPLIT_SPELLINGS = {name: name for name in _SPLITS} | dict.fromkeys(
    ("valid", "val", "dev"), "validation"
)

_STEM = re.compile(rf"(?:.*[_.\- ])?({'|'.join(_SPLIT_SPELLINGS)})", re.IGNORECASE | re.DOTALL)

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


def read_source(
    task: Task, data_dir: Path | None, seed: int
) -> tuple[dict[str, RawSplit], tuple[str, ...]]:
    """Return train, validation and test as read, and the names of those held out of train.

    The latter are the splits that the source lacks. Raises `DataError`.
    """
    kind, _, location = task.source.partition(":")
    splits = SOURCES[kind](location, task.columns, data_dir)
    missing = [split for split in ("test", "validation") if split not in splits]
    if missing:
        scorable, *_ = find_scorable_rows(splits["train"])
        splits |= hold_out_rows(splits["train"], scorable, missing, seed)
    return {split: splits[split] for split in _SPLITS}, tuple(missing)


def read_files(files: dict[str, Path], columns: Columns) -> dict[str, RawSplit]:
    """Read each split's file; raises `DataError`."""
    return {
        split: select_columns(open_table(file), columns, split) for split, file in files.items()
    }


def find_files(path: Path) -> dict[str, Path]:
    """Return the file of each split at `path`; a single file is the train split.

    In a folder the end of a file's name tells its split, in any case: `train.csv`, `SHC_Valid.csv`,
    `news.dev.jsonl`. Raises `DataError` where two files match one split, and where none is train.
    """
    if not path.exists():
        raise DataError(
            f"a task's file or folder must exist, there is nothing at {format_path(path)}"
        )
    if not path.is_dir():
        return {"train": path}
    files: dict[str, Path] = {}
    try:
        candidates = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise DataError(f"{format_path(path)} must be readable, got: {error.strerror}") from error
    for file in candidates:
        match = _STEM.fullmatch(file.stem)
        if match is None or file.suffix.lower() not in READERS:
            continue
        split = _SPLIT_SPELLINGS[match[1].lower()]
        if split in files:
            raise DataError(
                f"{format_path(path)} must have one file for {split}, "
                f"got {join_names((files[split].name, file.name))}"
            )
        files[split] = file
    if "train" not in files:
        raise DataError(
            f"{format_path(path)} must have a train file (train.csv, .tsv, .jsonl or .parquet), "
            f"it has {join_names((file.name for file in candidates), most=6)}"
        )
    return files


def read_hub(name: str, columns: Columns) -> dict[str, RawSplit]:
    """Read the train, validation and test splits of the data set `org/name`.

    A split whose labels are all hidden (-1), as in GLUE, is left out. The files are downloaded once
    into the cache of `datasets`; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` apply. Raises
    `DataError`.
    """
    import datasets  # type: ignore[import-untyped]

    # HTTPError is the client's, be it httpx or httpx2.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    failures = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)
    had_bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset = datasets.load_dataset(name)
    except failures as error:
        raise DataError(
            f"cannot read the hub data set {name}: {first_line(error)}; check the network, or "
            "download its files and give their folder"
        ) from error
    finally:
        if had_bars:
            datasets.enable_progress_bars()
    if "train" not in dataset:
        raise DataError(
            f"hub data set {name} must have a train split, it has {join_names(dataset)}"
        )
    splits = {
        _SPLIT_SPELLINGS[split]: select_columns(_hub_table(f"{name} ({split})", rows), columns)
        for split, rows in dataset.items()
        if split in _SPLIT_SPELLINGS
    }
    return {split: raw for split, raw in splits.items() if split == "train" or any(raw.labels)}


def _hub_table(origin: str, data: Any) -> Table:
    def rows(selected: Sequence[str]) -> Iterator[Row]:
        columns = column_values(origin, {name: data.data[name] for name in selected})
        for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
            yield f"row {number}", values

    if not len(data):
        raise DataError(f"{origin} must have rows, got none")
    return Table(
        origin,
        list(data.features),
        rows,
        converters={
            # None for no label and for a hidden one, which is -1
            name: dict(enumerate(feature.names)).get
            for name, feature in data.features.items()
            if getattr(feature, "names", None) is not None
        },
    )


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
    "official": lambda name, columns, data_dir: read_files(mahanews_files(name, data_dir), columns),
    "package": lambda name, columns, _: read_files(
        find_files(Path(__file__).with_name(name)), columns
    ),
    "files": lambda path, columns, _: read_files(find_files(Path(path)), columns),
    "hub": lambda name, columns, _: read_hub(name, columns),
}
