"""What a user can do wrong: one class per remedy, one line per mistake."""

import difflib
import errno
from collections.abc import Collection, Iterable
from pathlib import Path

# What torch says on a processor, where running out of memory has no class of its own.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc")


class AutopruneError(Exception):
    """A mistake or mishap that the user can mend; the command line prints it as one line."""


class LayoutError(AutopruneError):
    """Name other layers, or another number of them."""


class UnknownNameError(AutopruneError):
    """Choose one of the known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = max(names, key=lambda known: _likeness(name, known))
        alike = _likeness(name, near)[0] >= 0.5
        choice = f"did you mean {near!r}?" if alike else f"choose one of {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}, {choice}" + (f" {hint}" if hint else ""))


def _likeness(name: str, known: str) -> tuple[float, bool]:
    """Rank how near two names are; of equally near ones, that with the same letters is meant."""
    ratio = difflib.SequenceMatcher(None, name, known).ratio()
    return ratio, sorted(name) == sorted(known)


class OptionError(AutopruneError):
    """Give an option another value."""


class PlanError(AutopruneError):
    """Mend the plan's file."""


class ModelError(AutopruneError):
    """Choose another model, or mend its folder."""


class RemoteCodeError(ModelError):
    """Read the model's own code, and if you trust it pass --trust-remote-code."""


class HubError(AutopruneError):
    """See to the network or the hub, or use a local folder."""


class DataError(AutopruneError):
    """Mend the data files, or name their columns."""


class StudyError(AutopruneError):
    """Go on with the settings the study was begun with, or begin another."""


class TrialError(AutopruneError):
    """This candidate cannot be scored (its loss is not a number, say); the study goes on."""


class StorageError(AutopruneError):
    """See to the place where the study is kept."""


def check_names(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `UnknownNameError` for the first of `names` that is not known."""
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)


def is_full(error: BaseException | None) -> bool:
    """Say whether an error came of a disk without room, or of a quota that is used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "database or disk is full" in str(error):  # SQLite's words
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device or a processor ran out of memory; known by name, without torch."""
    return type(error).__name__ in ("OutOfMemoryError", "MemoryError") or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


MAX_MESSAGE = 90  # characters of a path or value that an error repeats


def escape_control(path: Path) -> str:
    """Return `path` for a person: relative to the working folder if inside it, cut at its start."""
    full = path.absolute()
    text = str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(path)
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= MAX_MESSAGE else "..." + plain[-MAX_MESSAGE:]


def quoted(value: object) -> str:
    r"""Return `value` in quotes, control characters escaped, cut at its end.

    >>> quoted("two\nlines")
    "'two\\nlines'"
    """
    text = str(value)
    return repr(text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "...")


def join_names(values: Iterable[object], most: int = 12) -> str:
    """Return the values in quotes with commas between, at most `most` of them."""
    items = list(values)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return (", ".join(quoted(item) for item in items[:most]) + more) or "nothing"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return "".join(letter for letter in text if letter.isprintable())[: 2 * MAX_MESSAGE]
