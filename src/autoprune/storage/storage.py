"""Where a study is kept: a journal file in its folder, or a database by URL."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from autoprune.errors import StorageError, StudyError
from autoprune.storage.errors import failure_reason, is_transient, mask_password
from autoprune.storage.journal import open_journal
from autoprune.storage.locks import ProposalLock, advisory_lock, file_lock
from autoprune.storage.rdb import BatchedRDBStorage
from autoprune.storage.retry import RETRY_DELAYS, RetryStorage

Storage = BaseStorage
"""An open storage, for rooms that do not know Optuna."""

JOURNAL = "journal.log"

PROPOSAL_LOCK = "turn.guard"

_PAUSES = (0.3, 0.6, 1.2, 2.4)  # seconds between tries to reach a server that may be restarting

_CONNECT_SECONDS = 5

_LOOK_SECONDS = 1.0


def open_storage(
    place: str | None, folder: Path, pauses: Sequence[float] = RETRY_DELAYS
) -> BaseStorage:
    """Open the database at URL `place`, or the journal in `folder` if `place` is None.

    Takes `sqlite:///file` (one machine) and `postgresql+psycopg://user@host/database`. A server
    that cannot be reached is tried for some five seconds; one that cannot be reached later, after
    each of `pauses` in seconds. Raises `StorageError`, which never shows a password.
    """
    if place is not None:
        server = _open_database(place)
        inner, turn = get_storage(server), _turn(place, server)  # finished trials are remembered
        return RetryStorage(inner, pauses, mask_password(place), turn, server, place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL
        return RetryStorage(
            open_journal(journal), pauses, str(journal), file_lock(folder / PROPOSAL_LOCK)
        )
    except OSError as error:
        raise StorageError(
            f"cannot keep a study in {folder}: {error.strerror or failure_reason(error)}"
        ) from None


def open_existing(place: str, pauses: Sequence[float] = RETRY_DELAYS) -> BaseStorage:
    """Open the database at URL `place`, which must be there already if it is a file.

    Raises `StorageError`.
    """
    url = _parse(place)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise StorageError(f"no storage {mask_password(place)}: there is no file {url.database}")
    return open_storage(place, Path(), pauses)


@contextmanager
def lock_study_folder(folder: Path) -> Iterator[None]:
    """Hold the study in `folder`: a second search there raises `StudyError`.

    The system lets go of it when the process ends, however it ends. A second's patience is for
    those that look whether it is held (`working`), which takes it for a moment.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock", timeout=_LOOK_SECONDS)
        held.acquire()
    except Timeout:
        raise StudyError(
            f"another search is at work in {folder}: wait for its end, or use another --study name"
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot keep a study in {folder}: {error.strerror or failure_reason(error)}"
        ) from None
    try:
        yield
    finally:
        held.release()


def _turn(place: str, server: BatchedRDBStorage) -> ProposalLock:
    url = _parse(place)
    if url.get_backend_name() == "postgresql":
        return advisory_lock(lambda: server.engine.connect())
    file = Path(str(url.database))
    return file_lock(file.with_name(f"{file.name}.{PROPOSAL_LOCK}"))


def _open_database(place: str) -> BatchedRDBStorage:
    url = _parse(place)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of, `RetryStorage` mends
    shown, began = mask_password(place), time.monotonic()
    for pause in (*_PAUSES, None):
        try:
            return BatchedRDBStorage(url.render_as_string(hide_password=False), _options(url))
        except (ImportError, NoSuchModuleError):
            raise StorageError(
                f"storage {shown} needs a driver that is not installed: "
                'pip install "autoprune[postgresql]" and begin the URL with postgresql+psycopg://'
            ) from None
        except RuntimeError:
            raise StorageError(
                f"storage {shown} was written by another version of Optuna: upgrade it with "
                "`optuna storage upgrade`, or use another database"
            ) from None
        except (StorageInternalError, SQLAlchemyError, OSError) as error:
            if not (_unreachable(error) or is_transient(error)):
                raise StorageError(
                    f"cannot open storage {shown}: {failure_reason(error, place)}"
                ) from None
            if pause is None:
                raise StorageError(
                    f"cannot open storage {shown}, tried for {time.monotonic() - began:.0f} "
                    f"seconds: {failure_reason(error, place)}"
                ) from None
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _parse(place: str) -> URL:
    """Read a URL; raises `StorageError` unless it names a database we test with."""
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):
        raise StorageError(
            "a storage is a URL like sqlite:///study.db or "
            f"postgresql+psycopg://user@host/database, got {mask_password(place)[:80]!r}"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageError(
            f"a storage is an sqlite or a postgresql+psycopg URL, got {mask_password(place)[:80]!r}"
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StorageError("a storage keeps the study in a file, sqlite:///study.db, got memory")
    return url


def _options(url: URL) -> dict[str, Any]:
    """Return engine options: a bounded wait, and for servers a look whether they still answer."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 20}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_SECONDS}}


def _unreachable(error: Exception) -> bool:
    """Say whether a later try may succeed: a server that answers FATAL has made up its mind."""
    text = str(error)
    return "connection" in text and ("FATAL" not in text or "starting up" in text)
