"""Writing: a text file appears whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import category

from autoprune.errors import OptionError, StudyError


def check_new_folder(out: Path) -> None:
    """Raise `OptionError` where no new folder `out` could be made, before hours of work."""
    place = out.resolve()
    if place == Path.cwd():
        raise OptionError(f"a model needs a folder of its own, {out} is the working folder")
    try:
        if place.is_dir():
            if next(place.iterdir(), None) is not None:
                raise OptionError(f"{out} is not empty: name a new folder, or clear it")
        elif place.exists():
            raise OptionError(f"{out} is a file: name a new folder")
        there = next(parent for parent in place.parents if parent.exists())
        if not there.is_dir():
            raise OptionError(f"cannot make {out}: {there} is a file, name another folder")
    except OSError as error:
        raise OptionError(f"cannot make {str(out)[:200]}: {error.strerror}") from error
    for folder in [there, place] if place.is_dir() else [there]:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OptionError(f"cannot make {out}: no permission in {folder}")


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Lend a folder beside `out`; it becomes `out` when the block ends well, else it is gone.

    Raises `OptionError` where it cannot be written.
    """
    check_new_folder(out)
    place = out.resolve()
    missing = [parent for parent in place.parents if not parent.exists()]
    folder = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True)
        yield folder
        _open(folder)
        check_new_folder(out)  # it may have been made meanwhile
        if place.is_dir():
            place.rmdir()
        folder.rename(place)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in missing:  # the nearest first
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise OptionError(f"cannot write {out}: {error.strerror or error}") from error
        raise


def _open(folder: Path) -> None:
    """Give the files the rights that new files have here; safetensors' are its writer's alone."""
    probe = folder / ".rights"
    probe.touch()
    rights = probe.stat().st_mode
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)


def write_atomic(path: Path, text: str) -> None:
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


_STUDY_BYTES = 150  # a file system takes 255, the report's draft adds some


def validate_study_name(name: str | None) -> str | None:
    """Check that a study's name is one folder's name, not a way to another place."""
    if name is None:
        return None
    # The vowel signs of Marathi are marks, neither letters nor digits.
    fits = all(one.isalnum() or one in "._+@=-" or category(one)[0] == "M" for one in name)
    if not fits or not (name[:1].isalnum() or name[:1] == "_") or len(name.encode()) > _STUDY_BYTES:
        raise OptionError(
            "a study's name is letters, digits and any of . _ + @ = - after the first, at most "
            f"{_STUDY_BYTES} bytes, got {name[:60]!r}"
        )
    return name
