"""Downloading one URL into a file, going on where an earlier try broke off."""

import os
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from autoprune.errors import DataError

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
