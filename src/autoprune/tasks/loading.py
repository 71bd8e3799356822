"""Loading: read, clean and check all splits of a task; the test split is returned separately."""

from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import DataError
from autoprune.tasks.cleaning import CleanedSplit, clean_splits
from autoprune.tasks.sources import read_source
from autoprune.tasks.splits import fingerprint, index_labels, label_names
from autoprune.tasks.task import Splits, Task, TestSplit


def read_splits(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> Splits:
    """Read a task's train and validation rows.

    `data_dir` is the folder of the official files (default: `AUTOPRUNE_DATA_DIR`, else they are
    downloaded once); `keep_duplicates` keeps duplicates and leaked rows; `seed` decides which train
    rows are held out where the source lacks a split. Raises `DataError`, also for a test split
    that could not be scored later.
    """
    cleaned = _read_and_clean(task, data_dir, keep_duplicates, seed)
    train, validation = cleaned.splits["train"], cleaned.splits["validation"]
    train_rows, validation_rows = (
        index_labels(split.kept_rows(), cleaned.names) for split in (train, validation)
    )
    return Splits(
        names=cleaned.names,
        train=train_rows,
        validation=validation_rows,
        cleaned=(train.report, validation.report),
        fingerprint=fingerprint(cleaned.names, train_rows, validation_rows),
        held_out=cleaned.held_out,
    )


def read_test(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> TestSplit:
    """Read a task's test rows: all with a text and a label, and which of them cleaning keeps.

    Arguments and errors are those of `read_splits`; pass the same to both.
    """
    cleaned = _read_and_clean(task, data_dir, keep_duplicates, seed)
    test = cleaned.splits["test"]
    rows = index_labels(test.raw, cleaned.names)
    return TestSplit(rows, test.kept, test.report, fingerprint(cleaned.names, rows))


@dataclass(frozen=True, slots=True)
class _CleanedTask:
    names: tuple[str, ...]  # the labels in index order
    splits: dict[str, CleanedSplit]
    held_out: tuple[str, ...]  # the splits that were held out of train


def _read_and_clean(
    task: Task, data_dir: Path | None, keep_duplicates: bool, seed: int
) -> _CleanedTask:
    """Read, clean and check all splits, so that a bad test split is found before the search."""
    raw_splits, held_out = read_source(task, data_dir, seed)
    splits = clean_splits(raw_splits, keep_duplicates)
    for name, split in splits.items():
        if not any(split.kept):
            hint = "" if keep_duplicates else " (--keep-duplicates keeps duplicates)"
            raise DataError(
                f"cleaning must leave some {name} rows, of {split.report.read} in "
                f"{split.raw.origin} it left none{hint}"
            )
    return _CleanedTask(label_names(task.labels, splits), splits, held_out)
