"""Parts: what a section of the page is made of; the template draws each kind."""

from dataclasses import dataclass
from typing import ClassVar

import plotly.graph_objects as go

from autoprune.reporting.tables import Table


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix to draw: names and row counts of its classes, shares row by row."""

    origin: str
    names: tuple[str, ...]
    rows: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """One text, its label, for what it was taken most often, and in how many of the seeds."""

    text: str
    label: str
    taken: str
    wrong: int
    seeds: int


@dataclass(frozen=True, slots=True)
class EntrantErrors:
    """The errors that only `origin` makes: how many rows, and the clearest of them."""

    origin: str
    count: int
    errors: tuple[ErrorExample, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `aside` is one that is for the second reading."""

    kind: ClassVar[str] = "text"
    text: str
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A command line, with a sentence that says what it is for."""

    kind: ClassVar[str] = "code"
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its table: the one for the eye, the other for everyone."""

    kind: ClassVar[str] = "plot"
    id: str
    title: str
    figure: go.Figure
    table: Table


@dataclass(frozen=True, slots=True)
class Plots:
    """Plots that stand side by side where there is room."""

    kind: ClassVar[str] = "plots"
    plots: tuple[Plot, ...]


@dataclass(frozen=True, slots=True)
class TableWithBars:
    """A table; `bars` are shares in [0, 1] drawn in the column `barred`, None for no bar."""

    kind: ClassVar[str] = "sheet"
    table: Table
    barred: int = -1
    bars: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrices:
    """Confusion matrices side by side."""

    kind: ClassVar[str] = "matrices"
    matrices: tuple[Confusion, ...]


@dataclass(frozen=True, slots=True)
class Errors:
    """The texts that only one entrant has wrong."""

    kind: ClassVar[str] = "errors"
    groups: tuple[EntrantErrors, ...]


Part = Text | Items | Code | Plot | Plots | TableWithBars | Matrices | Errors


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its parts; `id` is what links point to."""

    id: str
    title: str
    parts: tuple[Part, ...]
