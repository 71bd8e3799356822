"""Components: the parts of a page that Markdown has not, and sections with plots."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import plotly.graph_objects as go

from autoprune.reporting.sections import Items, ReportSection, Text
from autoprune.reporting.tables import Table


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, and its table for those who cannot see the plot."""

    id: str
    title: str
    figure: go.Figure
    table: Table


@dataclass(frozen=True, slots=True)
class Plots:
    """Plots, side by side where there is room."""

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
    parts = [part for part in section.parts if getattr(part, "table", None) not in shown]
    first = list(takewhile(lambda part: isinstance(part, Text | Items), parts))
    rest = parts[len(first) :]
    return replace(section, parts=(*first, Plots(tuple(plots)), *rest, *notes))


def with_id_prefix(section: ReportSection, prefix: str) -> ReportSection:
    """Return `section` with `prefix` before its id and those of its plots, for a page of many."""

    def rename(part: Any) -> Any:
        match part:
            case Plots(plots=plots):
                return Plots(tuple(map(rename, plots)))
            case Plot() | ReportSection():
                return replace(part, id=f"{prefix}-{part.id}")
        return part

    renamed: ReportSection = replace(rename(section), parts=tuple(map(rename, section.parts)))
    return renamed
