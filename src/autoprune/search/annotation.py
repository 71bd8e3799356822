"""What a study carries for its readers in Optuna's dashboard: a note and plots."""

from collections.abc import Mapping
from typing import Protocol

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna_dashboard import get_note, save_note, save_plotly_graph_object

from autoprune.search.failures import storage_failures


class Figure(Protocol):
    """A plotly figure, as far as it is needed to keep it."""

    def to_json(self) -> str:
        """Return the figure as plotly's JSON."""


def introduce(storage: BaseStorage, name: str, note: str) -> None:
    """Give study `name` a first note, in Markdown; one that it has already stays.

    Raises `StorageError`.
    """
    with storage_failures():
        study = _load(storage, name)
        if not get_note(study):
            save_note(study, note)


def annotate(storage: BaseStorage, name: str, note: str, figures: Mapping[str, Figure]) -> None:
    """Give study `name` a `note`, in Markdown, and `figures`, by title, in place of earlier ones.

    A title has letters, digits and hyphens only. Raises `StorageError`.
    """
    with storage_failures():
        study = _load(storage, name)
        save_note(study, note)
        for title, figure in figures.items():
            save_plotly_graph_object(study, figure, graph_object_id=title)


def _load(storage: BaseStorage, name: str) -> Study:
    return optuna.load_study(study_name=name, storage=optuna.storages.get_storage(storage))
