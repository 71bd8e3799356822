"""Beginning: the studies of a command are locked and begun, all of them or none."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from autoprune.cli.ground import Ground
from autoprune.cli.noting import note_begin
from autoprune.cli.past import STUDIES
from autoprune.cli.run import begin_study
from autoprune.errors import AutopruneError, StorageError
from autoprune.search.leading import lead
from autoprune.search.settings import keep_settings
from autoprune.search.storage import Storage, lock, open_storage
from autoprune.search.undoing import is_begun, undo_begin


def begin_each(
    grounds: Sequence[Ground],
    folders: Sequence[Path],
    storage: str | None,
    seed: int,
    settings: Mapping[str, Any],
    stack: ExitStack,
) -> list[Storage]:
    """Lock each folder until `stack` ends, and begin its study or go on with it.

    `settings` are what workers must know to join, but for the number of layers. Where one is
    refused, the folders and the studies in a database that were not there before are taken away
    again.
    """
    made: list[Path] = []
    begun: list[tuple[Storage, str]] = []
    places: list[Storage] = []
    try:
        for folder in folders:
            new = not folder.exists()
            places.append(open_storage(storage, folder))
            stack.enter_context(lock(folder))
            if new:  # and locked: nobody else is at work in it
                made.append(folder)
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            new = storage is not None and not is_begun(place, folder.name)
            begin_study(ground, place, folder.name, seed, settings["proxy"])
            if storage is not None:  # the folder's lock is not seen from other machines
                stack.enter_context(lead(place, folder.name))
            if new:  # and led: nobody else searches in it
                begun.append((place, folder.name))
            keep_settings(place, folder.name, {**settings, "keep": ground.keep})
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            note_begin(ground, place, folder.name)
    except AutopruneError:
        _undo(begun)
        _take_away(made)
        raise
    return places


def _undo(begun: Sequence[tuple[Storage, str]]) -> None:
    for place, name in begun:
        with suppress(StorageError):  # the mistake that led here is the one to tell
            undo_begin(place, name)


def _take_away(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for place in [*{folder.parent for folder in folders} - {STUDIES}, STUDIES]:  # plans' first
        if folders and not any(place.iterdir()):
            place.rmdir()
