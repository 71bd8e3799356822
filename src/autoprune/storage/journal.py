"""The journal file: a study's log on disk, checked and mended before it is opened."""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from autoprune.errors import StorageError

_HEAD = b'{"op_code":'

_OPERATIONS = range(10)  # those that Optuna 5 writes

_BLOCK = 4096

_POLL = 0.002  # seconds; an entry is written in less, so that waiting longer is waiting idly


class _OsLock(JournalFileOpenLock):
    """A lock that the system lets go of when its holder is killed.

    Optuna's own is a file that stays behind: the next process would wait 30 s for it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, poll_interval=_POLL)

    def acquire(self) -> bool:
        """Wait until nobody else writes."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let others write."""
        self._lock.release()


class _Mended(JournalFileBackend):
    """A file whose torn last line is cut off before the next one is written.

    A worker that is killed, or finds the disk full, leaves one to those that go on.
    """

    def __init__(self, path: Path, lock: _OsLock) -> None:
        super().__init__(str(path), lock_obj=lock)
        self._path, self._guard = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries at the end of what is whole."""
        self._guard.acquire()
        try:
            with self._path.open("r+b") as file:
                _cut_tail(file)
            super().append_logs(logs)
        finally:
            self._guard.release()


def _cut_tail(file: BinaryIO) -> None:
    """Cut what follows the last line's end, `_BLOCK` bytes at a look."""
    end = file.seek(0, os.SEEK_END)
    start = end
    while start > 0:
        size = min(_BLOCK, start)
        start = file.seek(start - size)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            start += found + 1
            break
    if start < end:
        file.truncate(start)


def open_journal(path: Path) -> JournalStorage:
    """Open the journal at `path`, begun if it is missing; raises `StorageError`, `OSError`.

    A last line torn by a kill or a crash is cut off: Optuna reads past it, but would append the
    next entry to it, and then read nothing any more.
    """
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder, move it away")
    lock = _OsLock(path.with_name(path.name + ".guard"))
    lock.acquire()
    try:
        with path.open("a+b") as file:
            file.seek(0)
            whole = _check(file.read(), path)
            if whole < file.seek(0, os.SEEK_END):
                file.truncate(whole)
                os.fsync(file.fileno())
    finally:
        lock.release()
    try:
        return JournalStorage(_Mended(path, lock))
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise StorageError(
            f"journal {path} tells of no study that Optuna understands ({type(error).__name__}): "
            "move it away to begin anew, or bring back a copy"
        ) from None


def _check(content: bytes, path: Path) -> int:
    """Return how many bytes of `content` are whole lines; raises `StorageError` on garbage."""
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not _is_entry(line):
            raise _broken(path, number)
    torn = tail.startswith(_HEAD) or _HEAD.startswith(tail) or not tail.strip(b"\0")
    if not torn:
        raise _broken(path, len(lines) + 1)
    return len(content) - len(tail)


def _is_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are
        return False
    return isinstance(entry, dict) and entry.get("op_code") in _OPERATIONS


def _broken(path: Path, number: int) -> StorageError:
    return StorageError(
        f"journal {path} is broken at line {number}: move it away to begin anew, "
        "or bring back a copy"
    )
