"""Loading: read, clean and check all splits of a task; the test split is returned separately."""

from pathlib import Path

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import DataError
from autoprune.tasks.cleaning import (
    CleanedSplit,
    clean_splits,
    fingerprint,
    warn_of_loss,
    warn_of_numbers,
)
from autoprune.tasks.labels import LABEL_KINDS, warn_of_separator
from autoprune.tasks.sources import read_source
from autoprune.tasks.task import Splits, Task, TestSplit


def read_splits(
    task: Task,
    data_dir: Path | None = None,
    keep_duplicates: bool = False,
    seed: int = 0,
    merge_labels: bool = False,
) -> Splits:
    """Read a task's train and validation rows.

    `data_dir` is the folder of the official files (default: `AUTOPRUNE_DATA_DIR`, else they are
    downloaded once); `keep_duplicates` keeps duplicates and leaked rows; `seed` decides which train
    rows are held out where the source lacks a split; `merge_labels` reads labels that differ only
    in case, spaces or Unicode form as one. Raises `DataError`, also for a test split that could not
    be scored later.
    """
    was_given = task.problem_type is not None
    task, names, splits, held_out = _read_and_clean(
        task, data_dir, keep_duplicates, seed, merge_labels
    )
    problem_type = task.problem_type or ""
    warnings = [*map(warn_of_loss, splits.values()), warn_of_numbers(splits["train"])]
    if not was_given and problem_type == PROBLEM_TYPE_NAMES[0]:
        warnings.append(warn_of_separator(names))
    parts, index = (splits["train"], splits["validation"]), LABEL_KINDS[problem_type].index
    train, validation = (index(split.kept_rows(), names) for split in parts)
    return Splits(
        names=names,
        train=train,
        validation=validation,
        cleaned=tuple(split.report for split in parts),
        fingerprint=fingerprint(names, train, validation),
        held_out=held_out,
        notes=_notes(splits),
        warnings=tuple(filter(None, warnings)),
        problem_type=problem_type,
    )


def read_test(
    task: Task,
    data_dir: Path | None = None,
    keep_duplicates: bool = False,
    seed: int = 0,
    merge_labels: bool = False,
) -> TestSplit:
    """Read a task's test rows: all with a text and a label, and which of them cleaning keeps.

    Arguments and errors are those of `read_splits`; pass the same to both.
    """
    task, names, splits, _ = _read_and_clean(task, data_dir, keep_duplicates, seed, merge_labels)
    test = splits["test"]
    rows = LABEL_KINDS[task.problem_type or ""].index(test.raw, names)
    return TestSplit(rows, test.kept, test.report, fingerprint(names, rows))


def _read_and_clean(
    task: Task, data_dir: Path | None, keep_duplicates: bool, seed: int, merge_labels: bool
) -> tuple[Task, tuple[str, ...], dict[str, CleanedSplit], tuple[str, ...]]:
    """Return the task with its problem type, the label names, all cleaned splits, those held out.

    Checks all of them, so that a bad test split is found before the search.
    """
    task, raw_splits, held_out = read_source(task, data_dir, seed, merge_labels)
    splits = clean_splits(raw_splits, keep_duplicates)
    for name, split in splits.items():
        if not any(split.kept):
            hint = "" if keep_duplicates else " (--keep-duplicates keeps duplicates)"
            raise DataError(
                f"cleaning must leave some {name} rows, of {split.report.read} in "
                f"{split.raw.origin} it left none{hint}"
            )
    names = LABEL_KINDS[task.problem_type or ""].names(task.labels, splits)
    return task, names, splits, held_out


def _notes(splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return how the splits were read; a sentence that is not true of all names its split."""
    names: dict[str, list[str]] = {}
    for name, split in splits.items():
        for note in split.raw.notes:
            names.setdefault(note, []).append(name)
    return tuple(
        note if len(found) == len(splits) else f"{' and '.join(found)}: {note}"
        for note, found in names.items()
    )
