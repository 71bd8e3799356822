"""What can go wrong with a storage, said in one line without a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from autoprune.errors import StorageError, is_full


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn failures of the storage inside the block into a `StorageError` of one line."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        remedy = "" if is_full(error) else ", mend it and run the same command again"
        raise StorageError(
            f"the study's storage failed: {reason(error)}; what was measured before is kept{remedy}"
        ) from None


def reason(error: BaseException, url: str = "") -> str:
    """Return what `error` says, in one line; the passwords of `url` do not appear in it."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    text = "".join(mark if mark.isprintable() else " " for mark in str(error))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:240] or type(error).__name__


def mask(url: str) -> str:
    """Return `url` without its passwords, to be printed.

    >>> mask("postgresql+psycopg://ann:secret@db/studies?sslpassword=secret")
    'postgresql+psycopg://ann:***@db/studies?sslpassword=***'
    """
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return re.sub(r"//.*@", "//***@", url)
    hidden = {key: "***" for key in parts.query if "pass" in key.lower()}
    shown = parts.update_query_dict(hidden).render_as_string(hide_password=True)
    return shown.replace(quote("***"), "***")


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
