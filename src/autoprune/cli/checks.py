"""Checks: what an option may hold, and how its names are completed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from unicodedata import category

from typer import CallbackParam

from autoprune.errors import OptionError, check_names


def completes(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the beginning of one of `names`."""
    ordered = sorted(names)

    def starting(incomplete: str) -> list[str]:
        return [name for name in ordered if name.startswith(incomplete)]

    return starting


def known(
    kind: str, names: Collection[str]
) -> Callable[[str | list[str] | None], str | list[str] | None]:
    """Return a check that a value, or each of several, is one of `names`."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        check_names(kind, [value] if isinstance(value, str) else value or [], names)
        return value

    return check


def promotes(promote: bool, sampler: str, pruner: str) -> None:
    """Check that runs which are to go on are chosen by what can weigh that, and not stopped."""
    if promote and (sampler != "gp" or pruner != "none"):
        raise OptionError(
            f"--promote takes --sampler gp and --pruner none, got {sampler} and {pruner}: leave it "
            "or them out"
        )


_STUDY_BYTES = 150  # a file system takes 255, the report's draft adds some


def plain(name: str | None) -> str | None:
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


def rate(value: float | None) -> float | None:
    """Check that a learning rate lies between 0 and 1."""
    if value is not None and not 0 < value < 1:
        raise OptionError(f"--learning-rate must lie between 0 and 1, got {value}")
    return value


def rates_of(text: str | None) -> list[float]:
    """Read two or more peak learning rates, rising; none without a text. Raises `OptionError`.

    >>> rates_of("5e-5, 2e-5,5e-5")
    [2e-05, 5e-05]
    """
    if text is None:
        return []
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if len(found) < 2 or not all(0 < rate < 1 for rate in found):
        raise OptionError(
            "--learning-rates takes two or more different numbers between 0 and 1 such as "
            f"2e-5,5e-5, got {text!r:.60}"
        )
    return found


def rates(text: str | None) -> str | None:
    """Check that `rates_of` can read `text`."""
    rates_of(text)
    return text


def keeps_of(text: str) -> list[int]:
    """Read `6`, `2-8` or `2,4-6`: numbers of layers, each once, rising; raises `OptionError`.

    >>> keeps_of("2,4-6")
    [2, 4, 5, 6]
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isdecimal() and end.isascii() and len(end) < 4 for end in ends):
            raise OptionError(f"--keep takes integers such as 6, 2-8 or 2,4,6, got {text[:60]!r}")
        low, high = int(ends[0]), int(ends[-1])
        if not 1 <= low <= high:
            raise OptionError(f"--keep counts layers from 1 on, rising, got {text[:60]!r}")
        found |= set(range(low, high + 1))
    return sorted(found)


def keeps_text(keeps: Sequence[int]) -> str:
    """Write rising numbers such that `keeps_of` reads them.

    >>> keeps_text([2, 4, 5, 6])
    '2,4-6'
    """
    firsts = [keep for keep in keeps if keep - 1 not in keeps]
    lasts = [keep for keep in keeps if keep + 1 not in keeps]
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(firsts, lasts, strict=True)
    )


def numbers(text: str) -> str:
    """Check that `keeps_of` can read `text`."""
    keeps_of(text)
    return text


def above_nought(parameter: CallbackParam, value: float | None) -> float | None:
    """Check that a limit is a finite number above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise OptionError(f"{parameter.opts[0]} must be a number above 0, got {value}")
    return value
