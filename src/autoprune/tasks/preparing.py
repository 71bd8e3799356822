"""All three splits of a task, read, cleaned and checked against each other."""

from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import DataError
from autoprune.tasks.cleaning import Sifted, sift_all
from autoprune.tasks.labels import label_names
from autoprune.tasks.sources import gather
from autoprune.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Prepared:
    """The label names in index order, the cleaned splits by name, and which were cut off train."""

    names: tuple[str, ...]
    splits: dict[str, Sifted]
    cut: tuple[str, ...]


def prepare(task: Task, data_dir: Path | None, keep_duplicates: bool, seed: int) -> Prepared:
    """Read, clean and check all splits, so that a bad test split is known before the search.

    Raises `DataError`, also where cleaning leaves no row of a split.
    """
    gathered = gather(task, data_dir, seed)
    splits = sift_all(gathered.splits, keep_duplicates)
    for name, sifted in splits.items():
        if not any(sifted.kept):
            leaves = "" if keep_duplicates else " (--keep-duplicates leaves duplicates in)"
            raise DataError(
                f"cleaning must leave some {name} rows, of {sifted.cleaned.read} in "
                f"{sifted.raw.origin} it left none{leaves}"
            )
    return Prepared(label_names(task.labels, splits), splits, gathered.cut)
