"""Leading: one search at a time goes on with a study, also where a database keeps it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError, StudyError
from autoprune.search.failures import storage_failures
from autoprune.search.holder import Holder
from autoprune.search.leases import EVERY, PATIENCE, Observer

_LEADER = "searching"
_SETTLES = 0.5  # seconds after which of two that came at once both see the later one
_LOOK = 1.0  # seconds between two looks at a leader of another host
# What may go wrong with a beat: a storage out of reach, or a study that was deleted (KeyError).
_MISHAPS = (StorageError, OptunaError, SQLAlchemyError, OSError, KeyError)


@contextmanager
def lead(
    storage: BaseStorage, name: str, every: float = EVERY, patience: float = PATIENCE
) -> Iterator[None]:
    """Hold study `name` until the block ends: a second search raises `StudyError`.

    Where the last one died on another host, this waits until it was silent for `patience` seconds.
    """
    holder = Holder.here()
    study = storage.get_study_id_from_name(name)
    over = threading.Event()

    def leader() -> Any:
        return storage.get_study_user_attrs(study).get(_LEADER)

    def is_mine() -> bool:
        return (leader() or {}).get("holder") == holder.as_value()

    def write(beat: int) -> None:
        storage.set_study_user_attr(study, _LEADER, {"holder": holder.as_value(), "beat": beat})

    def renew() -> None:
        beat = 0
        while not over.wait(every):
            # What fails here fails in the search's own calls too, which say so.
            with suppress(*_MISHAPS):
                beat += 1
                if is_mine():
                    write(beat)

    with holder.at_work():
        with storage_failures():
            _await_end(leader, name, every, patience)
            write(0)
            time.sleep(_SETTLES)
            if not is_mine():
                raise _taken(name, leader())
        thread = threading.Thread(target=renew, name="leading", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=every)
            with suppress(*_MISHAPS):
                if is_mine():
                    storage.set_study_user_attr(study, _LEADER, None)


def _await_end(leader: Any, name: str, every: float, patience: float) -> None:
    """Return when nobody leads; raises `StudyError` where somebody is seen to."""
    observer, first = Observer(patience, every), leader()
    while (now := leader()) is not None:
        holder = Holder.read(now["holder"])
        if holder is None or holder.is_gone():
            return
        if holder.is_here() or now != first:
            raise _taken(name, now)
        observer.look({0: now["beat"]})
        if observer.is_silent(0):
            return
        time.sleep(_LOOK)


def _taken(name: str, now: Any) -> StudyError:
    holder = Holder.read((now or {}).get("holder"))
    who = "" if holder is None else f" ({holder.named})"
    return StudyError(
        f"another search is at work on study {name}{who}: wait for its end, use another --study "
        "name, or help it with autoprune worker"
    )
