"""Storage: opens a study's journal file or database, with retries and locks."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from autoprune.errors import StorageError
from autoprune.retry import call_with_retry
from autoprune.storage.errors import failure_reason, is_transient, mask_password, unwritable_folder
from autoprune.storage.journal import open_journal, open_journal_to_read
from autoprune.storage.locks import ProposalLock, advisory_lock, file_lock
from autoprune.storage.rdb import BatchedRDBStorage
from autoprune.storage.retry import RETRY_DELAYS, RetryStorage

Storage = BaseStorage
"""An open storage, for subpackages that do not import Optuna."""

JOURNAL = "journal.log"
"""Name of the journal file in a study's folder."""

PROPOSAL_LOCK = "turn.guard"
"""Name of the proposal lock's file beside a journal; beside SQLite, after the database's name."""

_CONNECT_DELAYS = (0.3, 0.6, 1.2, 2.4)  # seconds between attempts: a server may be restarting

_CONNECT_TIMEOUT = 5  # seconds


def open_storage(
    url: str | None, folder: Path, delays: Sequence[float] = RETRY_DELAYS
) -> BaseStorage:
    """Open the database at `url`, or if that is None the journal in `folder`.

    A URL is `sqlite:///file` (one machine) or `postgresql+psycopg://user@host/database`. If a
    server cannot be reached now, this tries again for some five seconds; later calls are repeated
    after each of `delays`, in seconds. Raises `StorageError`, which never contains a password.
    """
    if url is not None:
        parsed = _parse(url)
        database = _open_database(url, parsed)
        cached = get_storage(database)  # keeps finished trials in memory
        lock = _database_lock(parsed, database)
        return RetryStorage(cached, delays, mask_password(url), lock, database, url)
    journal = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        storage = open_journal(journal)
    except OSError as error:
        raise unwritable_folder(folder, error) from None
    return RetryStorage(storage, delays, str(journal), file_lock(folder / PROPOSAL_LOCK))


def open_journal_of(folder: Path) -> BaseStorage:
    """Open the journal in `folder` to read it; the folder may be on a read-only medium.

    Raises `StorageError`.
    """
    journal = folder / JOURNAL
    try:
        return RetryStorage(open_journal_to_read(journal), (), str(journal))
    except OSError as error:
        raise StorageError(f"cannot read {journal}: {error.strerror}") from None


def storage_name(storage: BaseStorage) -> str:
    """Return what messages call a storage: its file, or its URL without passwords."""
    return storage.name if isinstance(storage, RetryStorage) else "its storage"


def open_existing(url: str, delays: Sequence[float] = RETRY_DELAYS) -> BaseStorage:
    """Open the database at `url` as `open_storage` does; the file of an SQLite one must exist."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise StorageError(f"no storage {mask_password(url)}: there is no file {parsed.database}")
    return open_storage(url, Path(), delays)


def _database_lock(parsed: URL, database: BatchedRDBStorage) -> ProposalLock:
    if parsed.get_backend_name() == "postgresql":
        return advisory_lock(lambda: database.engine.connect())
    file = Path(str(parsed.database))
    return file_lock(file.with_name(f"{file.name}.{PROPOSAL_LOCK}"))


def _open_database(url: str, parsed: URL) -> BatchedRDBStorage:
    name, start = mask_password(url), time.monotonic()
    options: dict[str, Any] = {"connect_args": {"timeout": 20}}
    if parsed.get_backend_name() != "sqlite":  # `pool_pre_ping` checks that a connection works
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_TIMEOUT}}
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # `RetryStorage` handles its warnings

    def connect() -> BatchedRDBStorage:
        return BatchedRDBStorage(parsed.render_as_string(hide_password=False), options)

    try:
        return call_with_retry(
            connect, _may_answer_later, name, _CONNECT_DELAYS, log_level=logging.DEBUG
        )
    except (ImportError, NoSuchModuleError):
        raise StorageError(
            f"storage {name} needs a driver that is not installed: "
            'pip install "autoprune[postgresql]" and begin the URL with postgresql+psycopg://'
        ) from None
    except RuntimeError:
        raise StorageError(
            f"storage {name} was written by another version of Optuna: upgrade it with "
            "`optuna storage upgrade`, or use another database"
        ) from None
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        tried = f", tried for {time.monotonic() - start:.0f} seconds"
        raise StorageError(
            f"cannot open storage {name}{tried if _may_answer_later(error) else ''}: "
            f"{failure_reason(error, url)}"
        ) from None


def _parse(url: str) -> URL:
    """Parse a URL; raises `StorageError` unless it is one of a supported database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(
            "a storage is a URL like sqlite:///study.db or "
            f"postgresql+psycopg://user@host/database, got {mask_password(url)[:80]!r}"
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageError(
            f"a storage is an sqlite or a postgresql+psycopg URL, got {mask_password(url)[:80]!r}"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError("a storage keeps the study in a file, sqlite:///study.db, got memory")
    return parsed


def _may_answer_later(error: BaseException) -> bool:
    """Return whether a later attempt to connect may succeed; most FATAL answers are final."""
    if not isinstance(error, StorageInternalError | SQLAlchemyError | OSError):
        return False
    text = str(error)
    refused = "connection" in text and ("FATAL" not in text or "starting up" in text)
    return refused or is_transient(error)
