"""Drafting: a folder that appears whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.errors import OptionError


def check_place(out: Path) -> None:
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
def draft(out: Path) -> Iterator[Path]:
    """Lend a folder beside `out`; it becomes `out` when the block ends well, else it is gone.

    Raises `OptionError` where it cannot be written.
    """
    check_place(out)
    place = out.resolve()
    missing = [parent for parent in place.parents if not parent.exists()]
    folder = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True)
        yield folder
        _open(folder)
        check_place(out)  # it may have been made meanwhile
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
