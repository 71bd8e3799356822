"""Noting: what a study's readers find in Optuna's dashboard, at its begin and at its end."""

from pathlib import Path

from autoprune.cli.ground import Ground
from autoprune.evidence.note import note, opening, plots
from autoprune.evidence.studied import read_study
from autoprune.search.annotation import annotate, introduce
from autoprune.search.storage import Storage


def note_begin(ground: Ground, storage: Storage, name: str) -> None:
    """Give a study without a note one that says what it is about; raises `StorageError`."""
    first = opening(
        ground.model,
        ground.task.name,
        ground.splits.names,
        ground.task.metric,
        ground.checkpoint.depth,
        ground.keep,
        ground.quick,
        ground.full,
    )
    introduce(storage, name, first)


def note_end(folder: Path, storage: Storage) -> None:
    """Give the finished study in `folder` its result as a note, and its plots.

    Raises `StudyError`, `StorageError`.
    """
    studied = read_study(folder)
    said = note(studied.setting, studied.comparison, len(studied.trials))
    annotate(storage, folder.name, said, plots(studied.trials))
