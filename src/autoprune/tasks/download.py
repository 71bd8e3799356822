"""Download: a set of files is fetched once, resumed after a break, checked at each later use."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from autoprune.errors import DataError, first_line, format_path
from autoprune.files import atomic_file, file_sha256, lock_folder
from autoprune.retry import call_with_retry

CHECKSUMS = "checksums.json"

DATA_DIR_HINT = "download the files yourself and pass --data-dir"

_TIMEOUT = 30.0  # seconds without a byte

_CHUNK = 1 << 16  # bytes

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class NotFoundError(Exception):
    """The server answers that it does not have the file."""


def download_files(mirrors: Sequence[dict[str, str]], folder: Path) -> None:
    """Make sure that `folder` holds a set of files, from the first mirror that has them all.

    A mirror is a dictionary from file name to URL. The SHA-256 of each file is stored beside it at
    the first download and compared at each later call. Raises `DataError` for a file that cannot
    be fetched, and for one that has changed since it was fetched.
    """
    names = list(mirrors[0])
    try:
        with lock_folder(folder):
            if not _verify_checksums(folder, names):
                _download_from_first(mirrors, folder)
                _verify_checksums(folder, names)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise DataError(
            f"cannot store downloaded files in {format_path(folder)}: {reason}"
        ) from error


def _verify_checksums(folder: Path, names: list[str]) -> bool:
    """Return whether all files are there; raises `DataError` for one that has changed."""
    known = _read_checksums(folder)
    if not all((folder / name).exists() and name in known for name in names):
        return False
    for name in names:
        if file_sha256(folder / name) != known[name]["sha256"]:
            raise DataError(
                f"{format_path(folder / name)} must be as it was fetched, it has changed: "
                "delete it to fetch it again"
            )
    return True


def _read_checksums(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / CHECKSUMS
    try:
        known = json.loads(path.read_text("utf-8"))
        return {name: {"sha256": row["sha256"], "url": row["url"]} for name, row in known.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{format_path(path)} is broken: delete it to fetch the files again"
        ) from error


def _download_from_first(mirrors: Sequence[dict[str, str]], folder: Path) -> None:
    missing: list[str] = []
    for mirror in mirrors:
        try:
            for name, url in mirror.items():
                _download_file(url, folder / name)
        except NotFoundError as error:
            missing.append(str(error))
        else:
            return
    raise DataError(f"not found: {', '.join(missing)}; {DATA_DIR_HINT}")


def _download_file(url: str, path: Path) -> None:
    known = _read_checksums(path.parent)
    if path.exists() and known.get(path.name, {}).get("url") == url:
        return
    partial_file = path.with_name(path.name + ".part")
    download = partial(_download, url, partial_file)
    try:
        call_with_retry(download, lambda error: isinstance(error, OSError | EOFError), url)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot fetch {url}: {first_line(error)}; {DATA_DIR_HINT}") from error
    # The checksum is written first: a file without one would be fetched again, or trusted blindly.
    known[path.name] = {"sha256": file_sha256(partial_file), "url": url}
    with atomic_file(path.with_name(CHECKSUMS)) as temporary:
        temporary.write_text(json.dumps(known, indent=1, sort_keys=True), "utf-8")
    partial_file.replace(path)


def _download(url: str, path: Path) -> None:
    """Write the content of `url` to `path`, appending to what an earlier attempt left.

    The ETag of that content is stored beside it, so that two versions are never joined. Raises
    `NotFoundError`; `OSError` or `EOFError` where the connection breaks, to be retried; `DataError`
    for a URL that is neither https nor on this machine.
    """
    _check_scheme(url)
    etag_file = path.with_name(path.name + ".etag")
    offset = path.stat().st_size if path.exists() and etag_file.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "autoprune"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", etag_file.read_text("ascii"))
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as response:
            _write_response(response, path, etag_file, offset)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the range does not fit the file: the next attempt starts anew
            etag_file.unlink(missing_ok=True)
        if error.code in (401, 403, 404, 410):
            raise NotFoundError(f"{url} ({error.code})") from error
        raise
    except HTTPException as error:
        raise EOFError(f"the connection broke off: {type(error).__name__}") from error
    etag_file.unlink(missing_ok=True)


def _write_response(response: HTTPResponse, path: Path, etag_file: Path, offset: int) -> None:
    if response.headers.get_content_type() == "text/html":  # a log-in page, for example
        raise NotFoundError(f"{response.url} (a web page instead of the file)")
    resumes = response.status == 206
    content_range = response.headers.get("Content-Range", "")
    if resumes and not content_range.startswith(f"bytes {offset}-"):
        etag_file.unlink(missing_ok=True)
        raise EOFError("the server sent another range than the one requested")
    if not resumes:
        etag_file.unlink(missing_ok=True)
        offset = 0
    etag = response.headers.get("ETag", "")
    length = response.headers.get("Content-Length")
    with path.open("ab" if resumes else "wb") as file:
        if etag and not etag.startswith("W/"):  # a weak ETag does not promise equal bytes
            etag_file.write_text(etag, "ascii")
        received = 0
        while chunk := response.read(_CHUNK):
            received += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if length is not None and received < int(length):
        raise EOFError(f"the connection broke off after {offset + received} bytes")


class _SchemeHandler(urllib.request.BaseHandler):
    def default_open(self, request: urllib.request.Request) -> None:
        """Check each request, also that of a redirect, before it is sent."""
        _check_scheme(request.full_url)


_OPENER = urllib.request.build_opener(_SchemeHandler)


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS):
        raise DataError(f"data are fetched over https only, got {url[:90]!r}")
