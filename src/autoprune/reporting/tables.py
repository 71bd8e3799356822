"""A table as plain values: written the same into Markdown and into a page."""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.layouts.layout import Layout

TableCell = str | Layout
"""Plain text, shown as it is; or a layout, drawn as its picture."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; `caption` says what it holds, for those who hear it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows), "a cell for each column"


_SYNTAX = re.compile(r"([\\`*_\[\]|~#!$])")

_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def table_line(text: str) -> str:
    """Return `text` on one line that can be written: no control, no text-turning characters.

    Joiners stay, Marathi needs them; half a surrogate pair (from a file name) becomes `?`.
    """
    written = text.encode("utf-8", "replace").decode("utf-8")
    seen = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _TURNING else c
        for c in written
    )
    return " ".join(seen.split())


def escape_markdown(text: str) -> str:
    r"""Return `text` such that Markdown shows it as it is, in prose and in table cells.

    >>> plain("a|b <i>`c`")
    'a\\|b &lt;i&gt;\\`c\\`'
    """
    return _SYNTAX.sub(r"\\\1", html.escape(table_line(text), quote=False))


def code_block(text: str) -> str:
    """Return a code block of one line, its fence longer than any run of backticks inside."""
    fence = "`" * (max([2, *map(len, re.findall("`+", text))]) + 1)
    return f"{fence}\n{table_line(text)}\n{fence}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown already: pass text from outside through `escape_markdown`."""
    assert all(len(row) == len(header) for row in rows), "a cell for each column"
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain_cell(content: Table) -> str:
    """Return a table of plain values; layouts become pictures of dots."""
    rows = [
        [escape_markdown(cell) if isinstance(cell, str) else cell.picture for cell in row]
        for row in content.rows
    ]
    return markdown_table([escape_markdown(name) for name in content.header], rows)
