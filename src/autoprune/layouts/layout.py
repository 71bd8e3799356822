"""Layout: which layers of an encoder are kept, in their original order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import Self

from autoprune.errors import LayoutError, OptionError

_TEXT = re.compile(r"(\d{1,4}):(\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers `keep` of a model of `depth` layers; layer 0 is the one nearest the embeddings.

    Raises `LayoutError` unless `keep` is not empty, ascending, without repeats and in `[0, depth)`.

    >>> str(Layout(12, (0, 1, 2, 3, 8, 11)))
    '12:0-3,8,11'
    """

    depth: int
    keep: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.keep:
            raise LayoutError("a layout keeps at least one layer, got none")
        if any(later <= earlier for earlier, later in pairwise(self.keep)):
            raise LayoutError(f"layers must ascend without repeats, got {_short(self.keep)}")
        if self.keep[0] < 0 or self.keep[-1] >= self.depth:
            raise LayoutError(
                f"layers of a {self.depth}-layer model run from 0 to {self.depth - 1}, "
                f"got {_short(self.keep)}"
            )

    @classmethod
    def full(cls, depth: int) -> Self:
        """Return the layout that keeps every layer."""
        return cls(depth, tuple(range(depth)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the layout that `text` describes; raises `LayoutError`.

        >>> Layout.parse("12:0-3,8,11").keep
        (0, 1, 2, 3, 8, 11)
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise LayoutError(f"a layout is written like 12:0-3,8,11, got {text[:80]!r}")
        keep: list[int] = []
        for part in match[2].split(","):
            first, _, last = part.partition("-")
            if last and int(last) < int(first):
                raise LayoutError(f"a range of layers must ascend, got {part!r} in {text[:80]!r}")
            keep.extend(range(int(first), int(last or first) + 1))
        return cls(int(match[1]), tuple(keep))

    def __str__(self) -> str:
        return f"{self.depth}:{format_keeps(self.keep)}"

    @property
    def picture(self) -> str:
        """One dot per layer, the one nearest the embeddings first; kept layers are filled.

        >>> Layout.parse("12:0-3,8,11").picture
        '●●●●○○○○●○○●'
        """
        return "".join("○●"[flag] for flag in self.flags)

    @property
    def flags(self) -> tuple[int, ...]:
        """One number per layer of the full model: 1 where it is kept, else 0."""
        return tuple(int(layer in self.keep) for layer in range(self.depth))


def _short(layers: tuple[int, ...]) -> str:
    """Return a list of layers for a message: all of them, or the first ones and the last."""
    listed = [str(layer)[:20] for layer in layers]
    return ", ".join(listed if len(listed) <= 24 else [*listed[:12], "…", listed[-1]])


def check_keep(depth: int, keep: int) -> None:
    """Raise `LayoutError` unless pruning a model of `depth` layers to `keep` removes something."""
    if not 1 <= keep < depth:
        raise LayoutError(
            f"keep must be 1 to {depth - 1}, since the model has {depth} layers, got {keep}"
        )


def all_layouts(depth: int, keep: int, required: Sequence[int] = ()) -> list[Layout]:
    """Return all layouts that keep `keep` of `depth` layers, `required` too, in lexical order.

    >>> [str(layout) for layout in all_layouts(3, 2)]
    ['3:0-1', '3:0,2', '3:1-2']
    """
    kept = combinations(range(depth), keep)
    return [Layout(depth, layers) for layers in kept if set(required) <= set(layers)]


def count_layouts(depth: int, keep: int, required: int = 0) -> int:
    """Return how many layouts keep `keep` of `depth` layers, `required` certain ones among them."""
    return comb(depth - required, keep - required) if keep >= required else 0


def parse_keeps(text: str) -> list[int]:
    """Return the numbers of layers in a text such as `6`, `2-8` or `2,4-6`, sorted, each once.

    Raises `OptionError`.

    >>> parse_keeps("2,4-6")
    [2, 4, 5, 6]
    """
    keeps: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isdecimal() and end.isascii() and len(end) < 4 for end in ends):
            raise OptionError(f"--keep takes integers such as 6, 2-8 or 2,4,6, got {text[:60]!r}")
        low, high = int(ends[0]), int(ends[-1])
        if not 1 <= low <= high:
            raise OptionError(f"--keep counts layers from 1 on, rising, got {text[:60]!r}")
        keeps |= set(range(low, high + 1))
    return sorted(keeps)


def format_keeps(keeps: Sequence[int]) -> str:
    """Return ascending numbers as the text that `parse_keeps` reads.

    >>> format_keeps([2, 4, 5, 6])
    '2,4-6'
    """
    firsts = [keep for keep in keeps if keep - 1 not in keeps]
    lasts = [keep for keep in keeps if keep + 1 not in keeps]
    ranges = zip(firsts, lasts, strict=True)
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
