"""Components: the parts of a page that Markdown has not, and sections with plots."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import plotly.graph_objects as go

from autoprune.reporting.sections import Items, ReportSection, TableWithBars, Text
from autoprune.reporting.tables import Table


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, and its table for those who cannot see the plot."""

    kind: ClassVar[str] = "plot"
    id: str
    title: str
    figure: go.Figure
    table: Table


@dataclass(frozen=True, slots=True)
class Plots:
    """Plots, side by side where there is room."""

    kind: ClassVar[str] = "plots"
    plots: tuple[Plot, ...]


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """A confusion matrix to draw: names and row counts of its classes, shares row by row."""

    origin: str
    names: tuple[str, ...]
    rows: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ConfusionMatrices:
    """Confusion matrices, side by side where there is room."""

    kind: ClassVar[str] = "matrices"
    matrices: tuple[ConfusionMatrix, ...]


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A text with its label, its usual wrong prediction, and in how many seeds it is wrong."""

    text: str
    label: str
    predicted: str
    wrong: int
    seeds: int


@dataclass(frozen=True, slots=True)
class EntrantErrors:
    """The errors that only `origin` makes: how many rows, and the clearest of them."""

    origin: str
    count: int
    examples: tuple[ErrorExample, ...]


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of several entrants, side by side where there is room."""

    kind: ClassVar[str] = "errors"
    groups: tuple[EntrantErrors, ...]


def with_plots(
    section: ReportSection | None, plots: Sequence[Plot], notes: Sequence[Text] = ()
) -> ReportSection | None:
    """Return `section` with `plots` after its first sentences, and `notes` at its end.

    A table that a plot has already is left out. None stays None.
    """
    if section is None or not plots:
        return section
    shown = [plot.table for plot in plots]
    parts = [
        part
        for part in section.parts
        if not (isinstance(part, TableWithBars) and part.table in shown)
    ]
    start = 0
    while start < len(parts) and isinstance(parts[start], Text | Items):
        start += 1
    return replace(section, parts=(*parts[:start], Plots(tuple(plots)), *parts[start:], *notes))


def with_id_prefix(section: ReportSection, prefix: str) -> ReportSection:
    """Return `section` with `prefix` before its id and those of its plots, for a page of many."""

    def renamed(part: Any) -> Any:
        match part:
            case Plot(id=id):
                return replace(part, id=f"{prefix}-{id}")
            case Plots(plots=plots):
                return Plots(tuple(replace(plot, id=f"{prefix}-{plot.id}") for plot in plots))
        return part

    return replace(section, id=f"{prefix}-{section.id}", parts=tuple(map(renamed, section.parts)))
