"""Writing: a text file appears whole or not at all."""

import os
from pathlib import Path

from autoprune.errors import StudyError


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, UTF-8, in one step; its folders are made, an older file replaced.

    Raises `StudyError` where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error
