"""Storage errors: which are transient, and their text in one line without a password."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from autoprune.errors import AutopruneError, StorageError, first_line, is_disk_full

_TRANSIENT_ERRNOS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN)

_TRANSIENT_MESSAGES = (  # of PostgreSQL while it restarts, and of SQLite
    "starting up",
    "shutting down",
    "recovery mode",
    "terminating connection",
    "accepting connections",
    "Consistent recovery state",
    "database is locked",
)


@contextmanager
def storage_failures() -> Iterator[None]:
    """Raise storage errors inside the block as a `StorageError` with one line of text."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        remedy = "" if is_disk_full(error) else ", mend it and run the same command again"
        raise StorageError(
            f"the study's storage failed: {failure_reason(error)}; what was measured before is "
            f"kept{remedy}"
        ) from None


@contextmanager
def stored_values(name: str, source: str) -> Iterator[None]:
    """Raise whatever fails while stored values of study `name` are read as a `StorageError`.

    A storage may be damaged in any way, so any error counts but those of the storage itself.
    `source` names the file or the database.
    """
    try:
        yield
    except (AutopruneError, StorageInternalError, SQLAlchemyError, OSError, MemoryError):
        raise
    except Exception as error:
        raise StorageError(
            f"study {name} in {source} is damaged ({first_line(error)[:100]}): bring back a copy, "
            "or move the study away to begin anew"
        ) from error


def unwritable_folder(folder: Path, error: OSError) -> StorageError:
    """Return the error to raise where `folder` cannot be written."""
    return StorageError(
        f"cannot keep a study in {folder}: {error.strerror or failure_reason(error)}"
    )


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed.

    Most FATAL answers of a server are final. SQLite reports a locked database at once, whatever its
    timeout, where two transactions want to write.
    """
    error = _root_cause(error)
    text = str(error)
    if isinstance(error, OSError):
        return error.errno in _TRANSIENT_ERRNOS
    if isinstance(error, PoolTimeoutError | PendingRollbackError):
        return True  # the latter: Optuna used the connection again that had just broken
    if not isinstance(error, DBAPIError):
        return False
    if any(message in text for message in _TRANSIENT_MESSAGES):
        return True
    return ("connection" in text or error.connection_invalidated) and "FATAL" not in text


def failure_reason(error: BaseException, url: str = "") -> str:
    """Return the message of `error` in one line, without the passwords of `url`."""
    error = _root_cause(error)
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    text = "".join(char if char.isprintable() else " " for char in str(error))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:240] or type(error).__name__


def _root_cause(error: BaseException) -> BaseException:
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def mask_password(url: str) -> str:
    """Return `url` without its passwords, for messages.

    Of a text that is no URL but may hold a password, only the part before the first colon is kept.

    >>> mask_password("postgresql+psycopg://ann:secret@db/studies?sslpassword=secret")
    'postgresql+psycopg://ann:***@db/studies?sslpassword=***'
    >>> mask_password("postgresql:/ann:secret@db/studies")
    'postgresql:***'
    """
    parts = _parse(url)
    if parts is None:
        if "@" not in url and "pass" not in url.lower():
            return url
        scheme, colon, _ = url.partition(":")
        return f"{scheme}:***" if colon and scheme.replace("+", "").isalnum() else "***"
    hidden = {key: "***" for key in parts.query if "pass" in key.lower()}
    if not hidden and not parts.password:
        return url
    masked = parts.update_query_dict(hidden).render_as_string(hide_password=True)
    # SQLAlchemy ends a password at its first @ and takes the rest for the host.
    return re.sub(r"(://[^/:@]*):.*@", r"\1:***@", masked.replace(quote("***"), "***"))


def _parse(url: str) -> URL | None:
    with suppress(ArgumentError, ValueError):
        return make_url(url)
    return None


def _secrets(url: str) -> list[str]:
    """Return all spellings of the passwords in `url`, the longest first."""
    parts = _parse(url)
    if parts is None:
        return [url] if url else []
    secrets = [str(value) for key, value in parts.query.items() if "pass" in key.lower()]
    if parts.password:
        raw = re.search(r"//[^:]*:(.*)@", url)
        secrets += [str(parts.password), *([raw[1]] if raw else [])]
    return sorted(secrets, key=len, reverse=True)
