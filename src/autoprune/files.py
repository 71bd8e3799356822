"""Files: atomic writes, file locks, and the reading of files that may be damaged."""

import contextlib
import dataclasses
import errno
import glob
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, BinaryIO, Literal, Union, get_args, get_origin, get_type_hints

from autoprune.errors import (
    OptionError,
    StudyError,
    first_line,
    is_joiner,
    is_letter_or_mark,
    quote,
)

MAX_STUDY_NAME = 150  # bytes; a file system takes 255, and temporary names are longer


def _temporary_path(path: Path, process: object) -> Path:
    return path.with_name(f".{path.name}.{process}.part")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the block writes there replaces `path` at its end.

    Missing folders are created. The content is on the disk before it gets its name. Where the block
    raises, the temporary file is removed and `path` stays as it was. Raises `OSError`, also where
    `path` is a pipe or a device: it must not become a file.
    """
    if path_exists(path) and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path, os.getpid())
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary_files(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left behind."""
    for temporary in _temporary_paths(path):
        temporary.unlink(missing_ok=True)


def _temporary_paths(path: Path) -> list[Path]:
    return list(path.parent.glob(_temporary_path(Path(glob.escape(str(path))), "*").name))


def _remove_abandoned_folders(path: Path) -> None:
    """Remove the temporary folders of `path` whose process was killed; they are large."""
    for temporary in _temporary_paths(path):
        process = temporary.name.split(".")[-2]
        if temporary.is_dir() and os.name == "posix" and process.isdecimal():
            try:
                os.kill(int(process), 0)  # asks only whether there is one
            except ProcessLookupError:
                shutil.rmtree(temporary, ignore_errors=True)
            except (OSError, OverflowError):  # another user's, or no number of a process
                pass


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8 as `atomic_file` does.

    Raises `StudyError` where the file cannot be written.
    """
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`; it becomes `out` at the end of the block.

    Where the block raises, the temporary folder and all parents made for it are removed; where the
    process is killed, the next one with the same `out` removes it. Raises `OptionError` where the
    folder cannot be written.
    """
    check_new_folder(out)
    path = out.resolve()
    _remove_abandoned_folders(path)
    new_parents = [parent for parent in path.parents if not parent.exists()]
    temporary = _temporary_path(path, os.getpid())
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _set_default_permissions(temporary)
        check_new_folder(out)  # another process may have made it meanwhile
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in new_parents:  # the nearest first
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise OptionError(f"cannot write {out}: {error.strerror or error}") from error
        raise


def _set_default_permissions(folder: Path) -> None:
    """Give each file the permissions of a new file; safetensors writes for the owner alone."""
    probe = folder / ".permissions"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in filter(Path.is_file, folder.rglob("*")):
        path.chmod(mode)


def check_new_folder(out: Path) -> None:
    """Check, before hours of work, that a new folder `out` can be made.

    Raises `OptionError` where it is the working folder, a file, not empty, or not writable.
    """
    path = out.resolve()
    if path == Path.cwd():
        raise OptionError(f"a model needs its own folder, {out} is the working folder")
    try:
        if path.is_dir():
            if next(path.iterdir(), None) is not None:
                raise OptionError(f"{out} is not empty: name a new folder, or clear it")
        elif path.exists():
            raise OptionError(f"{out} is a file: name a new folder")
        parent = next(parent for parent in path.parents if parent.exists())
        if not parent.is_dir():
            raise OptionError(f"cannot make {out}: {parent} is a file, name another folder")
    except OSError as error:
        raise OptionError(f"cannot make {str(out)[:200]}: {error.strerror}") from error
    for folder in [parent, path] if path.is_dir() else [parent]:
        try:  # to write is the only sure test: root may do so anywhere, but for a few file systems
            Path(tempfile.mkdtemp(dir=folder)).rmdir()
        except OSError as error:
            reason = f"nothing can be written in {folder}, name another folder"
            raise OptionError(f"cannot make {str(out)[:200]}: {reason}") from error


def lock_file(
    path: Path, timeout: float = -1, poll: float = 0.05
) -> AbstractContextManager[object]:
    """Lock the file `path` and return the lock; leaving its `with` block releases it.

    The operating system releases it as well when the process ends, even when it is killed. Waits
    `timeout` seconds (-1: without end), with `poll` seconds between two attempts. Raises
    `TimeoutError` where another process keeps the lock, `OSError` where the file cannot be locked.
    """
    from filelock import FileLock  # slow to import, and --help needs none

    return FileLock(path, poll_interval=poll).acquire(timeout=timeout)


def lock_folder(folder: Path, timeout: float = -1) -> AbstractContextManager[object]:
    """Create `folder` where it is missing and lock it, as `lock_file` does."""
    folder.mkdir(parents=True, exist_ok=True)
    return lock_file(folder / ".lock", timeout)


def is_folder_locked(folder: Path) -> bool:
    """Return whether another process holds the lock of `folder`; leaves no file behind there."""
    path = folder / ".lock"
    if not path.is_file():
        return False
    try:
        with lock_file(path, timeout=0):
            return False
    except TimeoutError:
        return True
    except OSError:  # no permission to lock the file: nothing is known
        return False


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expand_home(text: str) -> Path:
    """Return the path `text` with its `~` replaced, where such a user exists."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def path_exists(path: Path) -> bool:
    """Return whether `path` exists; False where it is no possible path or may not be read."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for the file system, or with a NUL
        return False


def find_below(folders: Sequence[Path], path: str | Path) -> Path | None:
    """Return the absolute form of `path` in the first of `folders` that has it, None if none."""
    found = (folder / path for folder in folders if path_exists(folder / path))
    return next((path.resolve() for path in found), None)


def is_file(path: Path) -> bool:
    """Return whether `path` is a regular file; False as `path_exists`."""
    return path_exists(path) and path.is_file()


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; False as `path_exists`."""
    return path_exists(path) and path.is_dir()


def derive_study_name(model: str, task: str, keep: int) -> str:
    """Return a name for a study, as `validate_study_name` demands it.

    >>> derive_study_name("-my model", "क्रीडा", 6)
    'my--model-क्रीडा-keep6'
    """
    parts = f"{model}-{task}"
    name = "".join(
        char if is_name_char(parts, index, "._-") else "--" for index, char in enumerate(parts)
    )
    end = f"-keep{keep}"
    name = re.sub(r"^\W+", "", name) or "study"
    return name.encode()[: MAX_STUDY_NAME - len(end)].decode(errors="ignore") + end


def validate_study_name(name: str | None) -> str | None:
    """Return `name` if it is one folder's name, without a path; raises `OptionError`."""
    if name is None:
        return None
    valid = all(is_name_char(name, index, "._+@=-") for index in range(len(name)))
    if not valid or not _may_begin_a_name(name) or len(name.encode()) > MAX_STUDY_NAME:
        raise OptionError(
            "a study's name is letters, digits and any of . _ + @ = - after the first, at most "
            f"{MAX_STUDY_NAME} bytes, got {quote(name[:60])}"
        )
    return name


def is_name_char(name: str, index: int, allowed: str) -> bool:
    """Return whether `name[index]` may be in a study's name: also vowel signs, joiners in words."""
    char = name[index]
    return char.isalnum() or char in allowed or is_letter_or_mark(char) or is_joiner(name, index)


def _may_begin_a_name(name: str) -> bool:
    return name[:1].isalnum() or name[:1] == "_"


MAX_STUDY_BYTES = 2 << 30
"""Size of the largest file of a study that is read."""

_MAX_DEPTH = 32  # of lists and objects within each other; what autoprune writes has less than ten


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it.

    Raises `OSError` for anything else: a pipe would be waited for, a device may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise OSError(errno.EINVAL, f"it is {kind}, not a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = MAX_STUDY_BYTES) -> bytes:
    """Return the content of a regular file; raises `OSError`, also where it has over `most` bytes.

    Without that bound a file with holes would take all memory.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 20} MiB")
    return content


@contextmanager
def reading(path: Path, kind: str, remedy: str) -> Iterator[None]:
    """Raise whatever fails inside as a `StudyError` that says: `path` cannot be read as `kind`.

    A file may be damaged in any way, so any error counts. A missing file is left to the caller
    (FileNotFoundError), and so is a lack of memory.
    """
    try:
        yield
    except (FileNotFoundError, MemoryError, StudyError):
        raise
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        raise StudyError(
            f"cannot read {path} as {kind} ({type(error).__name__}: {first_line(error)[:100]}): "
            f"{remedy}"
        ) from error


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raises ValueError, also where it is nested too deeply."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MAX_DEPTH):
        if not level:
            return value
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
    raise ValueError("it is nested too deeply")


def load_json(path: Path, kind: str, remedy: str) -> Any:
    """Return the JSON value in the file `path`; raises FileNotFoundError, `StudyError`."""
    with reading(path, kind, remedy):
        return parse_json(read_regular(path))


def check_value_type(value: Any, hint: Any, name: str) -> None:
    """Raise ValueError, which tells `name`, unless `value` is of the type that a hint describes.

    Knows what dataclasses of a study's files hold: plain values, tuples, dicts, unions, literals
    and dataclasses. Numbers must be finite.

    >>> check_value_type((1, None), tuple[int | None, ...], "ranks")
    >>> check_value_type({"a": "b"}, dict[str, int], "ranks")
    Traceback (most recent call last):
    ...
    ValueError: ranks must be of type int
    >>> check_value_type(10**400, float, "bytes")
    Traceback (most recent call last):
    ...
    ValueError: bytes must be a number of at most 18 digits
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return
        *others, last = [argument for argument in arguments if argument is not NoneType]
        for other in others:
            with contextlib.suppress(ValueError):
                check_value_type(value, other, name)
                return
        check_value_type(value, last, name)
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} must be one of {', '.join(arguments)}")
    elif origin is tuple:
        _check_class(value, tuple, name)
        takes_int = arguments[0] is int or int in get_args(arguments[0])
        if takes_int and set(map(type, value)) <= {int}:  # predictions: many thousands
            _check_size(max(value, key=abs, default=0), name)
            return
        for item in value:
            check_value_type(item, arguments[0], name)
    elif origin is dict:
        _check_class(value, dict, name)
        for key, item in value.items():
            check_value_type(key, arguments[0], name)
            check_value_type(item, arguments[1], name)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        _check_class(value, hint, name)
        for field, field_hint in _hints(hint).items():
            check_value_type(getattr(value, field), field_hint, field)
    elif hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number:
            _check_size(value, name)
        if not is_number or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number")
    else:
        _check_class(value, hint, name)


def _check_class(value: Any, expected: Any, name: str) -> None:
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ValueError(f"{name} must be of type {expected.__name__}")
    if expected is int:
        _check_size(value, name)


def _check_size(value: int | float, name: str) -> None:
    """Raise ValueError for an integer that no float or array of integers can hold."""
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{name} must be a number of at most 18 digits")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
