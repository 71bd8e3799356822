"""A folder or a single file of the user's own: which file holds which split."""

import re
from pathlib import Path

from autoprune.errors import DataError
from autoprune.tasks.columns import pick
from autoprune.tasks.formats import FORMATS, read_table
from autoprune.tasks.raw import Raw
from autoprune.tasks.task import Columns
from autoprune.tasks.wording import listed, shown

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
        raise DataError(f"{shown(folder)} must be readable, got: {error.strerror}") from error
    for path in names:
        match = _STEM.fullmatch(path.stem)
        if match is None or path.suffix.lower() not in FORMATS:
            continue
        split = SPELLINGS[match[1].lower()]
        if split in found:
            raise DataError(
                f"{shown(folder)} must have one file for {split}, "
                f"got {listed((found[split].name, path.name))}"
            )
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"{shown(folder)} must have a train file (train.csv, .tsv, .jsonl or .parquet), "
            f"it has {listed((path.name for path in names), most=6)}"
        )
    return found


def files_at(path: Path) -> dict[str, Path]:
    """Return the file of each split at `path`: a folder's, or a single file, which is all train."""
    if not path.exists():
        raise DataError(f"a task's file or folder must exist, nothing lies at {shown(path)}")
    return split_files(path) if path.is_dir() else {"train": path}


def read_files(files: dict[str, Path], columns: Columns) -> dict[str, Raw]:
    """Read each split's file; raises `DataError`."""
    return {split: pick(read_table(file), columns) for split, file in files.items()}
