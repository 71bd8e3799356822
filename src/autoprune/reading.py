"""Reading: files that may be damaged or hostile; whatever fails while they are read is one line."""

import dataclasses
import errno
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, BinaryIO, Literal, Union, get_args, get_origin, get_type_hints

from autoprune.errors import StudyError, first_line

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
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return
        [hint] = [argument for argument in arguments if argument is not NoneType]
        check_value_type(value, hint, name)
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} must be one of {', '.join(arguments)}")
    elif origin is tuple:
        _check_class(value, tuple, name)
        if arguments[0] is int and set(map(type, value)) <= {int}:  # predictions: many thousands
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
        if not is_number or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number")
    else:
        _check_class(value, hint, name)


def _check_class(value: Any, expected: Any, name: str) -> None:
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ValueError(f"{name} must be of type {expected.__name__}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
