"""Journal: a study's log file, checked and repaired before it is opened."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from autoprune.errors import StorageError
from autoprune.files import parse_json, path_exists, read_regular
from autoprune.storage.optuna_internals import JOURNAL_OPERATIONS

_ENTRY_START = b'{"op_code":'

_BLOCK = 4096  # bytes

_REMEDY = "bring back a copy, or move the folder away to begin anew"

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


class _ReadOnlyJournal(JournalFileBackend):
    """A journal that is not written."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002
        """Raise `PermissionError`."""
        raise PermissionError("this journal was opened to read it only")


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
    if path_exists(path) and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise StorageError(f"cannot write {path}: it is {kind}, move it away")
    lock = FileLock(path.with_name(path.name + ".guard"), poll_interval=_POLL_INTERVAL)
    with lock, path.open("a+b") as file:
        valid = _valid_length(read_regular(path), path)
        if valid < file.seek(0, os.SEEK_END):
            file.truncate(valid)
            os.fsync(file.fileno())
    return _open(path, _RepairedJournal(path, lock))


def open_journal_to_read(path: Path) -> JournalStorage:
    """Open the journal at `path` without writing to its folder; raises `StorageError`, `OSError`.

    Whatever is then written to the storage raises `PermissionError`.
    """
    _valid_length(read_regular(path), path)
    return _open(path, _ReadOnlyJournal(str(path)))


def _open(path: Path, backend: JournalFileBackend) -> JournalStorage:
    try:
        return JournalStorage(backend)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # an entry may be damaged in any way
        raise StorageError(
            f"journal {path} holds no study that Optuna can read ({type(error).__name__}): "
            f"{_REMEDY}"
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
        raise StorageError(f"journal {path} is broken at line {number}: {_REMEDY}")
    return len(content) - len(tail)


def _is_entry(line: bytes) -> bool:
    try:
        entry = parse_json(line)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are
        return False
    return isinstance(entry, dict) and entry.get("op_code") in JOURNAL_OPERATIONS
