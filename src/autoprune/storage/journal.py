"""Journal: a study's log file, checked and repaired before it is opened."""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from autoprune.errors import StorageError
from autoprune.storage.optuna_internals import JOURNAL_OPERATIONS

_ENTRY_START = b'{"op_code":'

_BLOCK = 4096  # bytes

_POLL_INTERVAL = 0.002  # seconds; writing an entry takes less


class _OsLock(JournalFileOpenLock):
    """A lock that the operating system releases when its process is killed.

    Optuna's own is a file that stays: the next process would wait 30 s for it.
    """

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def acquire(self) -> bool:
        """Wait until no other process writes."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let others write."""
        self._lock.release()


class _RepairedJournal(JournalFileBackend):
    """A journal whose incomplete last line is cut off before the next one is written.

    A worker that is killed, or finds the disk full, leaves such a line to the others.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        super().__init__(str(path), lock_obj=_OsLock(lock))
        self._path, self._file_lock = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries after the last complete line."""
        with self._file_lock:  # which is reentrant
            with self._path.open("r+b") as file:
                _cut_incomplete_line(file)
            super().append_logs(logs)


def _cut_incomplete_line(file: BinaryIO) -> None:
    """Cut what follows the last line end; reads back from the end in blocks."""
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
    """Open the journal at `path`, created if it is missing; raises `StorageError`, `OSError`.

    An incomplete last line, left by a kill or a crash, is cut off. Optuna ignores it, but would
    append the next entry to it, and could then read nothing after it.
    """
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder, move it away")
    lock = FileLock(path.with_name(path.name + ".guard"), poll_interval=_POLL_INTERVAL)
    with lock, path.open("a+b") as file:
        file.seek(0)
        valid = _valid_length(file.read(), path)
        if valid < file.seek(0, os.SEEK_END):
            file.truncate(valid)
            os.fsync(file.fileno())
    try:
        return JournalStorage(_RepairedJournal(path, lock))
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise StorageError(
            f"journal {path} holds no study that Optuna can read ({type(error).__name__}): "
            "move it away to begin anew, or bring back a copy"
        ) from None


def _valid_length(content: bytes, path: Path) -> int:
    """Return how many bytes of `content` are complete lines; raises `StorageError` on others."""
    *lines, tail = content.split(b"\n")
    is_incomplete = (
        tail.startswith(_ENTRY_START) or _ENTRY_START.startswith(tail) or not tail.strip(b"\0")
    )
    broken = (number for number, line in enumerate(lines, start=1) if not _is_entry(line))
    number = next(broken, None if is_incomplete else len(lines) + 1)
    if number is not None:
        raise StorageError(
            f"journal {path} is broken at line {number}: move it away to begin anew, "
            "or bring back a copy"
        )
    return len(content) - len(tail)


def _is_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are
        return False
    return isinstance(entry, dict) and entry.get("op_code") in JOURNAL_OPERATIONS
