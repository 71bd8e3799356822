"""A table as plain values: written the same into Markdown and into a page."""

from dataclasses import dataclass

from autoprune.layouts.layout import Layout

Cell = str | Layout
"""Plain text, shown as it is; or a layout, drawn as its picture."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; `caption` says what it holds, for those who hear it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows), "a cell for each column"
