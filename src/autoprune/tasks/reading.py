"""Reading a task: its train and validation rows, cleaned; never a test row."""

from pathlib import Path

from autoprune.tasks.fingerprint import fingerprint
from autoprune.tasks.labels import indexed
from autoprune.tasks.preparing import prepare
from autoprune.tasks.task import Splits, Task


def read(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> Splits:
    """Read a task's train and validation rows.

    `data_dir` is where the official files lie (default: `AUTOPRUNE_DATA_DIR`, else they are
    fetched once); `keep_duplicates` leaves duplicates and leaked rows in; `seed` decides which
    rows are cut off train where the source lacks a split. Raises `DataError`, also for a test
    split that could not be scored later.
    """
    prepared = prepare(task, data_dir, keep_duplicates, seed)
    sifted = prepared.splits
    train = indexed(sifted["train"].left(), prepared.names)
    validation = indexed(sifted["validation"].left(), prepared.names)
    return Splits(
        names=prepared.names,
        train=train,
        validation=validation,
        cleaned=(sifted["train"].cleaned, sifted["validation"].cleaned),
        fingerprint=fingerprint(prepared.names, train, validation),
        cut=prepared.cut,
    )
