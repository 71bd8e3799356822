"""All three splits of a task, read, cleaned and checked against each other."""

from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import DataError
from autoprune.tasks.cleaning import CleanedSplit, clean_splits
from autoprune.tasks.sources import read_source
from autoprune.tasks.splits import fingerprint, index_labels, label_names
from autoprune.tasks.task import Splits, Task, TestSplit


@dataclass(frozen=True, slots=True)
class CleanedTask:
    """The label names in index order, the cleaned splits by name, and which were cut off train."""

    names: tuple[str, ...]
    splits: dict[str, CleanedSplit]
    cut: tuple[str, ...]


def clean_task(task: Task, data_dir: Path | None, keep_duplicates: bool, seed: int) -> CleanedTask:
    """Read, clean and check all splits, so that a bad test split is known before the search.

    Raises `DataError`, also where cleaning leaves no row of a split.
    """
    gathered = read_source(task, data_dir, seed)
    splits = clean_splits(gathered.splits, keep_duplicates)
    for name, sifted in splits.items():
        if not any(sifted.kept):
            leaves = "" if keep_duplicates else " (--keep-duplicates leaves duplicates in)"
            raise DataError(
                f"cleaning must leave some {name} rows, of {sifted.cleaned.read} in "
                f"{sifted.raw.origin} it left none{leaves}"
            )
    return CleanedTask(label_names(task.labels, splits), splits, gathered.cut)


def read_test(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> TestSplit:
    """Read a task's test rows: all that can be scored, and which of them cleaning leaves.

    The arguments and errors are those of `reading.read`; give both the same.
    """
    prepared = clean_task(task, data_dir, keep_duplicates, seed)
    sifted = prepared.splits["test"]
    rows = index_labels(sifted.raw, prepared.names)
    return TestSplit(
        rows=rows,
        kept=sifted.kept,
        cleaned=sifted.cleaned,
        fingerprint=fingerprint(prepared.names, rows),
    )


def read_splits(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> Splits:
    """Read a task's train and validation rows.

    `data_dir` is where the official files lie (default: `AUTOPRUNE_DATA_DIR`, else they are
    fetched once); `keep_duplicates` leaves duplicates and leaked rows in; `seed` decides which
    rows are cut off train where the source lacks a split. Raises `DataError`, also for a test
    split that could not be scored later.
    """
    prepared = clean_task(task, data_dir, keep_duplicates, seed)
    sifted = prepared.splits
    train = index_labels(sifted["train"].left(), prepared.names)
    validation = index_labels(sifted["validation"].left(), prepared.names)
    return Splits(
        names=prepared.names,
        train=train,
        validation=validation,
        cleaned=(sifted["train"].cleaned, sifted["validation"].cleaned),
        fingerprint=fingerprint(prepared.names, train, validation),
        cut=prepared.cut,
    )
