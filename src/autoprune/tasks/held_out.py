"""The test split, apart from the rest: only the last comparison may name this module's function."""

from pathlib import Path

from autoprune.tasks.fingerprint import fingerprint
from autoprune.tasks.labels import indexed
from autoprune.tasks.preparing import prepare
from autoprune.tasks.task import Task, TestSplit


def read_test(
    task: Task, data_dir: Path | None = None, keep_duplicates: bool = False, seed: int = 0
) -> TestSplit:
    """Read a task's test rows: all that can be scored, and which of them cleaning leaves.

    The arguments and errors are those of `reading.read`; give both the same.
    """
    prepared = prepare(task, data_dir, keep_duplicates, seed)
    sifted = prepared.splits["test"]
    rows = indexed(sifted.raw, prepared.names)
    return TestSplit(
        rows=rows,
        kept=sifted.kept,
        cleaned=sifted.cleaned,
        fingerprint=fingerprint(prepared.names, rows),
    )
