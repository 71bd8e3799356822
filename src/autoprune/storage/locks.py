"""Turns: who proposes and claims next, among all processes at work on a study.

Workers that know the same propose the same run: without turns all but one of them lose what they
claimed, write that down, and begin again. A turn is a courtesy, not what keeps runs apart (see
`claims`): where it cannot be had, or is held for too long, the work goes on without.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StorageError, StudyError
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import GRACE_PERIOD, HEARTBEAT_INTERVAL, StalenessMonitor, WorkerId

_LEADER = "searching"

_SETTLES = 0.5  # seconds after which of two that came at once both see the later one

_LOOK = 1.0  # seconds between two looks at a leader of another host

# What may go wrong with a beat: a storage out of reach, or a study that was deleted (KeyError).
_MISHAPS = (StorageError, OptunaError, SQLAlchemyError, OSError, KeyError)


@contextmanager
def single_search_lock(
    storage: BaseStorage,
    name: str,
    every: float = HEARTBEAT_INTERVAL,
    patience: float = GRACE_PERIOD,
) -> Iterator[None]:
    """Hold study `name` until the block ends: a second search raises `StudyError`.

    Where the last one died on another host, this waits until it was silent for `patience` seconds.
    """
    holder = WorkerId.here()
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
    observer, first = StalenessMonitor(patience, every), leader()
    while (now := leader()) is not None:
        holder = WorkerId.read(now["holder"])
        if holder is None or holder.is_gone():
            return
        if holder.is_here() or now != first:
            raise _taken(name, now)
        observer.look({0: now["beat"]})
        if observer.is_silent(0):
            return
        time.sleep(_LOOK)


def _taken(name: str, now: Any) -> StudyError:
    holder = WorkerId.read((now or {}).get("holder"))
    who = "" if holder is None else f" ({holder.named})"
    return StudyError(
        f"another search is at work on study {name}{who}: wait for its end, use another --study "
        "name, or help it with autoprune worker"
    )


ProposalLock = Callable[[int], AbstractContextManager[None]]
"""Takes a study's id; nobody else has the turn until the block ends."""

_LONGEST = 60  # seconds; a proposal takes one or two

_POLL = 0.005  # seconds between two looks at a file's lock

_SPACE = 0x6C617965  # "laye": apart from the advisory locks of other programs


@contextmanager
def no_lock(study: int) -> Iterator[None]:  # noqa: ARG001
    """Give the turn at once: only one process knows the storage."""
    yield


def file_lock(path: Path) -> ProposalLock:
    """Return turns by the lock of the file `path`, for all studies there."""
    lock = FileLock(path, timeout=_LONGEST, poll_interval=_POLL)

    @contextmanager
    def turn(study: int) -> Iterator[None]:  # noqa: ARG001
        with suppress(Timeout, OSError):
            lock.acquire()
        try:
            yield
        finally:
            if lock.is_locked:
                lock.release()

    return turn


def advisory_lock(connect: Callable[[], Connection]) -> ProposalLock:
    """Return turns by an advisory lock of PostgreSQL, which goes with its holder's connection."""

    @contextmanager
    def turn(study: int) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(SQLAlchemyError):
                connection = connect()
                stack.callback(_let_go, connection)
                connection.execute(text(f"set local lock_timeout = '{_LONGEST}s'"))
                whose = {"space": _SPACE, "study": study}
                connection.execute(text("select pg_advisory_xact_lock(:space, :study)"), whose)
            yield

    return turn


def _let_go(connection: Connection) -> None:
    """End the transaction, and the lock with it."""
    with suppress(SQLAlchemyError):
        connection.close()


def is_at_work(folder: Path) -> bool:
    """Tell whether another process holds the study in `folder`; nothing is left behind there."""
    place = folder / ".lock"
    if not place.is_file():
        return False
    held = FileLock(place, timeout=0)
    try:
        held.acquire()
    except Timeout:
        return True
    except OSError:  # not ours to lock: nobody can be told from here
        return False
    held.release()
    return False
