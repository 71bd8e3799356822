"""How errors name what came from outside: short, on one line, nothing a terminal would act on."""

from collections.abc import Iterable
from pathlib import Path

LONGEST = 90  # characters of a path or value that an error repeats


def shown(path: Path) -> str:
    """Return `path` for a person: relative to the working folder if inside it, cut at its start."""
    full = path.absolute()
    text = str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(path)
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= LONGEST else "..." + plain[-LONGEST:]


def quoted(value: object) -> str:
    r"""Return `value` in quotes, control characters escaped, cut at its end.

    >>> quoted("two\nlines")
    "'two\\nlines'"
    """
    text = str(value)
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...")


def listed(values: Iterable[object], most: int = 12) -> str:
    """Return the values in quotes with commas between, at most `most` of them."""
    items = list(values)
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return (", ".join(quoted(item) for item in items[:most]) + more) or "nothing"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return "".join(letter for letter in text if letter.isprintable())[: 2 * LONGEST]
