"""The log file: what happens, as JSON lines that a program can follow."""

import json
import logging
import os
import platform
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from autoprune.cli.events import keep_by, tell
from autoprune.errors import OptionError


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object: time in UTC, event, what belongs to it, who wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line without its end."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        who = {"process": record.process, "host": platform.node()}
        whole = {"time": when, "event": record.getMessage(), **fields, **who}
        return json.dumps(whole, ensure_ascii=False)


class Appending(logging.Handler):
    """Appends each record in one write, so that several processes can share the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        self.setFormatter(JsonLines())
        if _is_torn(self._file):  # by a full disk: what follows shall be whole lines
            os.write(self._file, b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; where that fails, say so once, and go on without: the study counts."""
        if self._file is None:
            return
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            done = os.write(self._file, line)
            said = "" if done == len(line) else "no room left"
        except OSError as error:
            said = error.strerror or type(error).__name__
        if said:
            self.close()
            typer.echo(
                f"the log file {self._path} cannot be written ({said}): going on without it",
                err=True,
            )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        super().close()


def _is_torn(file: int) -> bool:
    state = os.fstat(file)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return False
    return os.pread(file, 1, state.st_size - 1) != b"\n"


def open_log(path: Path | None, command: str) -> None:
    """Write what `tell` is told to `path` from now on, behind what stands there, if it is given.

    Raises `OptionError` where that file cannot be written.
    """
    if path is None:
        return
    try:
        keep_by(Appending(path))
    except OSError as error:
        raise OptionError(
            "--log-file must be a file that can be written, "
            f"{str(path)!r} is not ({error.strerror})"
        ) from None
    tell("command begun", command=command)
