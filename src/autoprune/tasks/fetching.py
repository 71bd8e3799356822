"""Fetching a set of files once: whole or not at all, resumed where broken off, checked later."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from autoprune.errors import DataError
from autoprune.tasks.downloading import NotThereError, download
from autoprune.tasks.wording import first_line, shown

CHECKSUMS = "checksums.json"
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
REMEDY = "download the files yourself and pass --data-dir"


def fetch_set(
    places: Sequence[dict[str, str]], folder: Path, waits: Sequence[float] = WAITS
) -> None:
    """See that `folder` holds each file of a set, fetched from the first place that has them all.

    A place is a dictionary from file name to URL. The SHA-256 of each file is kept beside it at
    first and compared from then on; `waits` are the seconds before each further try. Raises
    `DataError` for a file that cannot be had, and for one that changed since it was fetched.
    """
    names = list(places[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not _verified(folder, names):
                _fetch_first(places, folder, waits)
                _verified(folder, names)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise DataError(f"cannot keep fetched files in {shown(folder)}: {reason}") from error


def _verified(folder: Path, names: list[str]) -> bool:
    known = _checksums(folder)
    if not all((folder / name).exists() and name in known for name in names):
        return False
    for name in names:
        if sha256(folder / name) != known[name]["sha256"]:
            raise DataError(
                f"{shown(folder / name)} must be as it was fetched, it has changed: "
                "delete it to fetch it again"
            )
    return True


def _fetch_first(places: Sequence[dict[str, str]], folder: Path, waits: Sequence[float]) -> None:
    missing: list[str] = []
    for place in places:
        try:
            for name, url in place.items():
                _fetch(url, folder / name, waits)
        except NotThereError as error:
            missing.append(str(error))
        else:
            return
    raise DataError(f"not found: {', '.join(missing)}; {REMEDY}")


def _fetch(url: str, path: Path, waits: Sequence[float]) -> None:
    known = _checksums(path.parent)
    if path.exists() and known.get(path.name, {}).get("url") == url:
        return
    part = path.with_name(path.name + ".part")
    for wait in (*waits, None):
        try:
            download(url, part)
            break
        except (OSError, EOFError) as error:
            if wait is None:
                raise DataError(f"cannot fetch {url}: {first_line(error)}; {REMEDY}") from error
            time.sleep(wait)
    # The checksum first: a file without one would have to be trusted or fetched again.
    known[path.name] = {"sha256": sha256(part), "url": url}
    _write_whole(path.with_name(CHECKSUMS), json.dumps(known, indent=1, sort_keys=True))
    part.replace(path)


def _checksums(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / CHECKSUMS
    try:
        known = json.loads(path.read_text("utf-8"))
        return {name: {"sha256": row["sha256"], "url": row["url"]} for name, row in known.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{shown(path)} is broken: delete it to fetch the files again") from error


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
