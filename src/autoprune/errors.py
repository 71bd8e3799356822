"""Errors that a user can cause or repair: one class per remedy, each printed as one line."""

import difflib
import errno
import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

_MAX_LENGTH = 90  # characters of a path or value that a message repeats

# What torch says where memory runs out on the CPU, for which it has no exception class.
_DISK_FULL = ("database or disk is full", "(os error 28)", "(os error 122)")

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc")


class AutopruneError(Exception):
    """An error that the user can repair; the command line prints it as one line."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error of any signature come from another process, with its message."""
        return _restore_error, (type(self), self.args), self.__dict__ or None


def _restore_error(kind: type[AutopruneError], arguments: tuple[object, ...]) -> AutopruneError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


class LayoutError(AutopruneError):
    """Name other layers, or another number of layers."""


class UnknownNameError(AutopruneError):
    """Choose one of the known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        similarity = {each: difflib.SequenceMatcher(None, name, each).ratio() for each in names}
        # Of equally similar names, the one with the same letters comes first.
        nearest = max(names, key=lambda each: (similarity[each], sorted(name) == sorted(each)))
        is_similar = similarity[nearest] >= 0.5
        choice = (
            f"did you mean {quote(nearest)}?" if is_similar else f"choose one of {', '.join(names)}"
        )
        super().__init__(f"unknown {kind} {quote(name)}, {choice}" + (f" {hint}" if hint else ""))


class OptionError(AutopruneError):
    """Give an option another value."""


class PlanError(AutopruneError):
    """Correct the plan's file."""


class ModelError(AutopruneError):
    """Choose another model, or repair its folder."""


class RemoteCodeError(ModelError):
    """Read the model's own code, and if you trust it pass --trust-remote-code."""


class HubError(AutopruneError):
    """Check the network or the hub, or use a local folder."""


class DataError(AutopruneError):
    """Correct the data files, or name their columns."""


class StudyError(AutopruneError):
    """Resume the study with the settings it was started with, or start another."""


class TrialError(AutopruneError):
    """This candidate cannot be scored (its loss is NaN, for example); the study continues."""


class StorageError(AutopruneError):
    """Check the database or file in which the study is stored."""


def missing_package(feature: str, package: str) -> OptionError:
    """Return the error for a `feature` whose package, named as pip does, is not installed.

    >>> str(missing_package("--ray", "autoprune[ray]"))
    '--ray needs a package that is not installed: pip install "autoprune[ray]"'
    """
    return OptionError(f'{feature} needs a package that is not installed: pip install "{package}"')


def check_names(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `UnknownNameError` for the first of `names` that is not known."""
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether `error` or one of its causes is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # The messages of SQLite, and of safetensors, whose error is no OSError.
        if any(text in str(error) for text in _DISK_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a GPU or the CPU ran out of memory; compares names, so needs no torch."""
    return type(error).__name__ in ("OutOfMemoryError", "MemoryError") or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    )


def is_letter_or_mark(char: str) -> bool:
    """Return whether a character is a letter, or a mark such as a vowel sign of Marathi."""
    return unicodedata.category(char)[0] in "LM"


def is_joiner(text: str, index: int) -> bool:
    """Return whether `text[index]` is a zero-width joiner or non-joiner within a word.

    Words of Marathi such as कर्\u200dहाड are written with it. Elsewhere it can hide in a name.
    """
    around = text[max(index - 1, 0) : index], text[index + 1 : index + 2]
    return text[index] in "\u200c\u200d" and all(
        char and is_letter_or_mark(char) for char in around
    )


def printable(text: str, keep: str = "") -> str:
    r"""Return `text` for a terminal: what is not printable is escaped, except those in `keep`.

    Joiners within words stay.

    >>> printable("red\x1b[31m कर्\u200dहाड")
    'red\\x1b[31m कर्\u200dहाड'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep or is_joiner(text, index) else repr(char)[1:-1]
        for index, char in enumerate(text)
    )


def format_path(path: Path) -> str:
    """Return `path` for a message: relative to the working folder if inside, printable, short.

    A path that is too long is cut at its start.
    """
    absolute, folder = path.absolute(), Path.cwd()
    text = str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else path)
    text = printable(text)
    return text if len(text) <= _MAX_LENGTH else "..." + text[-_MAX_LENGTH:]


def quote(value: object) -> str:
    r"""Return `value` for a message: in quotes, control characters escaped, cut at its end.

    >>> quote("two\nlines")
    "'two\\nlines'"
    """
    text = str(value)
    quoted = repr(text if len(text) <= _MAX_LENGTH else text[:_MAX_LENGTH] + "...")

    def restore(match: re.Match[str]) -> str:
        around = quoted[match.start() - 1], quoted[match.end()]
        joiner = chr(int(match[1], 16))
        return joiner if all(map(is_letter_or_mark, around)) else match[0]

    return re.sub(r"\\u(200[cd])", restore, quoted)


def join_names(values: Iterable[object], most: int = 12) -> str:
    """Return at most `most` values in quotes with commas between, and how many more there are."""
    items = list(values)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return (", ".join(quote(item) for item in items[:most]) + more) or "nothing"


def format_count(number: int, noun: str) -> str:
    """Return `number` and `noun`, in the plural unless it is one.

    >>> format_count(1, "row"), format_count(2400, "row"), format_count(2, "entity")
    ('1 row', '2,400 rows', '2 entities')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def first_line(error: BaseException) -> str:
    """Return the text of `error` as one line of at most 200 printable characters.

    A line that ends in a colon is joined with the next one. An error without text gives its type.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.endswith(":"):
        text = " ".join(lines[:2])
    elif isinstance(error, KeyError):
        text = f"there is no {text}"
    return printable(text)[:200].rstrip(".")
