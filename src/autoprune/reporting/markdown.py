"""Markdown: texts from outside are escaped; tables and code blocks are written on safe lines."""

import html
import re
import unicodedata
from collections.abc import Sequence

from autoprune.reporting.tables import Table

_MARKUP = re.compile(r"([\\`*_\[\]|~#!$])")

_TEXT_DIRECTION = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def single_line(text: str) -> str:
    """Return `text` on one line, without control characters and changes of the text direction.

    Zero-width joiners stay, because Marathi needs them. Half a surrogate pair, which can come from
    a file name, becomes `?`.
    """
    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _TEXT_DIRECTION else c
        for c in encodable
    )


def escape_markdown(text: str) -> str:
    r"""Return `text` such that Markdown shows it unchanged, in paragraphs and in table cells.

    >>> escape_markdown("a|b <i>`c`")
    'a\\|b &lt;i&gt;\\`c\\`'
    """
    return _MARKUP.sub(r"\\\1", html.escape(single_line(text), quote=False))


def code_block(text: str, language: str = "") -> str:
    """Return a code block: of one line, or of code in `language`. Its fence cannot occur inside."""
    fence = "`" * (max([2, *map(len, re.findall("`+", text))]) + 1)
    lines = [single_line(text)]
    if language:
        lines = [_without_controls(line).rstrip() for line in text.split("\n")]
    return "\n".join([f"{fence}{language}", *lines, fence])


def markdown_list(texts: Sequence[str]) -> str:
    """Return a list with an item for each text; escapes the texts."""
    return "\n".join(f"- {escape_markdown(text)}" for text in texts)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already: escape texts from outside before."""
    assert all(len(row) == len(header) for row in rows), "a cell for each column"
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table_to_markdown(table: Table) -> str:
    """Write a table in Markdown: escapes the texts, draws layouts as rows of dots."""
    rows = [
        [escape_markdown(cell) if isinstance(cell, str) else cell.picture for cell in row]
        for row in table.rows
    ]
    return markdown_table([escape_markdown(name) for name in table.header], rows)
