"""Plots of the comparison: quality and cost of the entrants as dots with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.verdict import format_points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.html.components import Plot
from autoprune.reporting.plot_style import (
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    ZERO_LINE,
    apply_style,
    interval_bars,
    label_rows,
    short_label,
)
from autoprune.reporting.tables import LATENCY_COLUMN, THROUGHPUT_COLUMN, Table

_FINDING_COLORS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot plot: a value with its interval, its label, and the look of its mark."""

    name: str
    value: float
    low: float
    high: float
    label: str
    color: str
    symbol: str = "circle"


def dot_plot(dots: Sequence[Dot], axis: str) -> go.Figure:
    """Draw each dot in a row of its own with its interval, the first on top.

    `axis` is the title of the axis of values. The traces have the dots' names in `meta`.
    """
    names = [short_label(dot.name) for dot in dots]
    traces = [
        go.Scatter(
            x=[dot.value],
            y=[row],
            error_x=interval_bars([dot.value], [(dot.low, dot.high)], dot.color),
            mode="markers+text",
            marker={"color": dot.color, "symbol": dot.symbol, "size": 11},
            text=[dot.label],
            textposition="top center",
            textfont={"size": 12},
            customdata=[[name, f"{dot.low:.1f} to {dot.high:.1f}"]],
            hovertemplate="%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            meta=name,
            showlegend=False,
        )
        for row, (name, dot) in enumerate(zip(names, dots, strict=True))
    ]
    figure = apply_style(go.Figure(traces), 70 + 40 * len(dots), axis, "")
    label_rows(figure, names, top=-0.8)
    return figure.update_yaxes(tickfont={"size": 13})


def _dot_table(caption: str, dots: Sequence[Dot], column: str, digits: int = 1) -> Table:
    """Return what a dot plot shows as a table."""
    rows = tuple(
        (dot.name, dot.label, f"{dot.low:,.{digits}f}", f"{dot.high:,.{digits}f}") for dot in dots
    )
    return Table(caption, ("origin", column, "low", "high"), rows)


def entrant_mark(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (SLATE, "square") if origin == "full" else (VIOLET, "triangle-up")


def comparison_plots(comparison: Comparison) -> list[Plot]:
    """Return the plots of quality, and of differences from the reference where there are others."""
    plots = [quality_plot(comparison)]
    return [*plots, differences_plot(comparison)] if len(comparison.rows) > 1 else plots


def quality_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's test quality in % as a dot with its 95 % interval."""
    title, column = "Quality on the test split", f"{comparison.metric}, %"
    dots = [
        Dot(
            row.origin,
            100 * row.test_mean,
            100 * row.test_low,
            100 * row.test_high,
            f"{100 * row.test_mean:.1f}",
            *entrant_mark(row.origin),
        )
        for row in comparison.rows
    ]
    figure = dot_plot(dots, f"{column}, with 95 % interval")
    return Plot("quality", title, figure, _dot_table(title, dots, column))


def differences_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's difference from the best fixed strategy in points, with its interval."""
    title = f"Difference from {comparison.reference}, the best fixed strategy"
    column = f"points against {comparison.reference}"
    dots = []
    for row in comparison.rows:
        gap = row.difference
        label = format_points(gap.mean)
        if gap.finding in ("better", "worse"):  # color alone must not tell it
            label = f"{label} {gap.finding}"
        if row.origin != comparison.reference:
            numbers = (100 * gap.mean, 100 * gap.low, 100 * gap.high)
            dots.append(Dot(row.origin, *numbers, label, _FINDING_COLORS[gap.finding]))
    figure = dot_plot(dots, f"{column}, with 95 % interval").update_xaxes(ZERO_LINE)
    for trace in figure.data:  # beside the line at 0, which would cross the label
        trace.textposition = "top left" if trace.x[0] < 0 else "top right"
    return Plot("differences", title, figure, _dot_table(title, dots, column))


def cost_plots(costs: Costs) -> list[Plot]:
    """Return the plots of latency and throughput."""
    throughput = f"Throughput, batches of {costs.batch}"
    return [
        _cost_plot(costs, "latency", "Latency, one text", LATENCY_COLUMN, 1000, 2),
        _cost_plot(costs, "throughput", throughput, THROUGHPUT_COLUMN, 1, 0),
    ]


def _cost_plot(
    costs: Costs, field: str, title: str, column: str, scale: float, digits: int
) -> Plot:
    """Draw a field of each model, a median with its interval, times `scale`."""
    dots = []
    for model in costs.models:
        value = getattr(model, field)
        median, low, high = (scale * number for number in (value.median, value.low, value.high))
        label = f"{median:,.{digits}f}"
        dots.append(Dot(model.name, median, low, high, label, *entrant_mark(model.name)))
    figure = dot_plot(dots, f"{column}, with 95 % interval").update_xaxes(rangemode="tozero")
    return Plot(field, title, figure, _dot_table(title, dots, column, digits))
