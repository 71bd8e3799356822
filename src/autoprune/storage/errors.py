"""What can go wrong with a storage, said in one line without a password."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from autoprune.errors import StorageError, is_disk_full

_ERRNOS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN)

_NOT_YET = (
    *("starting up", "shutting down", "recovery mode", "terminating connection"),
    *("accepting connections", "Consistent recovery state"),
)


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn failures of the storage inside the block into a `StorageError` of one line."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        remedy = "" if is_disk_full(error) else ", mend it and run the same command again"
        raise StorageError(
            f"the study's storage failed: {failure_reason(error)}; what was measured before is kept{remedy}"
        ) from None


def is_transient(error: BaseException) -> bool:
    """Say whether a later try may succeed: a server that answers FATAL has mostly made up its mind.

    SQLite answers at once, whatever the wait it was told, where two transactions want to write.
    """
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    if isinstance(error, PoolTimeoutError | PendingRollbackError):
        return True  # the latter: Optuna asked again on the connection that had just broken
    if not isinstance(error, DBAPIError):
        return False
    if "database is locked" in text or any(words in text for words in _NOT_YET):
        return True
    return ("connection" in text or error.connection_invalidated) and "FATAL" not in text


def failure_reason(error: BaseException, url: str = "") -> str:
    """Return what `error` says, in one line; the passwords of `url` do not appear in it."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    text = "".join(mark if mark.isprintable() else " " for mark in str(error))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:240] or type(error).__name__


def mask_password(url: str) -> str:
    """Return `url` without its passwords, to be printed; as it is where it has none.

    Of what is no URL, but may hold a password, only what stands before its first colon is shown.

    >>> mask("postgresql+psycopg://ann:secret@db/studies?sslpassword=secret")
    'postgresql+psycopg://ann:***@db/studies?sslpassword=***'
    >>> mask("postgresql:/ann:secret@db/studies")
    'postgresql:***'
    """
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        if "@" not in url and "pass" not in url.lower():
            return url
        scheme, colon, _ = url.partition(":")
        return f"{scheme}:***" if colon and scheme.replace("+", "").isalnum() else "***"
    hidden = {key: "***" for key in parts.query if "pass" in key.lower()}
    if not hidden and not parts.password:
        return url
    shown = parts.update_query_dict(hidden).render_as_string(hide_password=True)
    # A password with an @ in it is cut there by SQLAlchemy, the rest taken for the host's begin.
    return re.sub(r"(://[^/:@]*):.*@", r"\1:***@", shown.replace(quote("***"), "***"))


def _secrets(url: str) -> list[str]:
    """Return all spellings of the passwords in `url`, the longest first."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return [url] if url else []
    found = [str(value) for key, value in parts.query.items() if "pass" in key.lower()]
    if parts.password:
        raw = re.search(r"//[^:]*:(.*)@", url)
        found += [str(parts.password), *([raw[1]] if raw else [])]
    return sorted(found, key=len, reverse=True)
