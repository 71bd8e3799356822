"""Fetching a set of files once: whole or not at all, resumed where broken off, checked later."""

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from autoprune.errors import DataError, escape_control, first_line

TIMEOUT = 30.0  # seconds without a byte

_PIECE = 1 << 16

_LOCAL = ("127.0.0.1", "localhost", "::1")


class NotThereError(Exception):
    """The server answers, and says that it does not have the file."""


def download(url: str, part: Path) -> None:
    """Write what `url` holds into `part`, after what is in it already where the server agrees.

    The server's mark for the file's state (ETag) lies beside it, so that two states are never
    joined. Raises `NotThereError`, `OSError` or `EOFError` (broken off: try again), and
    `DataError` for a URL that is neither https nor this machine's own.
    """
    _check_scheme(url)
    mark = part.with_name(part.name + ".etag")
    begun = part.stat().st_size if part.exists() and mark.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "autoprune"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
        request.add_header("If-Range", mark.read_text("ascii"))
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            _receive(answer, part, mark, begun)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is there does not fit: begin anew
            mark.unlink(missing_ok=True)
        if error.code in (401, 403, 404, 410):
            raise NotThereError(f"{url} ({error.code})") from error
        raise
    except HTTPException as error:
        raise EOFError(f"the connection broke off: {type(error).__name__}") from error
    mark.unlink(missing_ok=True)


def _receive(answer: HTTPResponse, part: Path, mark: Path, begun: int) -> None:
    if answer.headers.get_content_type() == "text/html":  # a log-in page in between, say
        raise NotThereError(f"{answer.url} (a web page instead of the file)")
    goes_on = answer.status == 206
    if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
        mark.unlink(missing_ok=True)
        raise EOFError("the server sent another part than was asked for")
    etag = answer.headers.get("ETag", "")
    if not goes_on:
        mark.unlink(missing_ok=True)
    left = answer.headers.get("Content-Length")
    with part.open("ab" if goes_on else "wb") as file:
        if etag and not etag.startswith("W/"):  # a weak mark does not vouch for the bytes
            mark.write_text(etag, "ascii")
        received = 0
        while piece := answer.read(_PIECE):
            file.write(piece)
            received += len(piece)
        file.flush()
        os.fsync(file.fileno())
    if left is not None and received < int(left):
        raise EOFError(f"the connection broke off after {begun * goes_on + received} bytes")


class _SafeRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


_OPENER = urllib.request.build_opener(_SafeRedirect)


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise DataError(f"data are fetched over https only, got {url[:90]!r}")


CHECKSUMS = "checksums.json"

RETRY_WAITS_DATA = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try

DATA_DIR_HINT = "download the files yourself and pass --data-dir"


def download_files(
    places: Sequence[dict[str, str]], folder: Path, waits: Sequence[float] = RETRY_WAITS_DATA
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
        raise DataError(
            f"cannot keep fetched files in {escape_control(folder)}: {reason}"
        ) from error


def _verified(folder: Path, names: list[str]) -> bool:
    known = _checksums(folder)
    if not all((folder / name).exists() and name in known for name in names):
        return False
    for name in names:
        if sha256(folder / name) != known[name]["sha256"]:
            raise DataError(
                f"{escape_control(folder / name)} must be as it was fetched, it has changed: "
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
    raise DataError(f"not found: {', '.join(missing)}; {DATA_DIR_HINT}")


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
                raise DataError(
                    f"cannot fetch {url}: {first_line(error)}; {DATA_DIR_HINT}"
                ) from error
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
        raise DataError(
            f"{escape_control(path)} is broken: delete it to fetch the files again"
        ) from error


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
