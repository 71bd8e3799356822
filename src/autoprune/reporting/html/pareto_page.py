"""Pareto page: quality and cost for each number of layers as one HTML file, the advice first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from autoprune.evaluation.pareto import ParetoFront, ParetoPoint, is_dominated
from autoprune.reporting.html.components import Plot, Plots
from autoprune.reporting.html.render import render_template
from autoprune.reporting.pareto_report import (
    format_range,
    pareto_advice,
    pareto_how_to_read,
    pareto_table,
    pareto_title,
    quality_cells,
)
from autoprune.reporting.plot_style import (
    MUTED,
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    apply_style,
    interval_bars,
    short_label,
)
from autoprune.reporting.sections import Items, ReportSection, TableWithBars, Text
from autoprune.reporting.tables import Table
from autoprune.training.metrics import METRICS, Metric


@dataclass(frozen=True, slots=True)
class CostAxis:
    """A cost to draw quality against: its `title`, and the `value` of a point.

    `interval` gives the ends of the value's interval, where it was measured with one.
    """

    id: str
    title: str
    value: Callable[[ParetoPoint], float]
    interval: Callable[[ParetoPoint], tuple[float, float]] | None = None


LATENCY = CostAxis(
    "latency", "ms a text", lambda point: point.price.latency_ms, lambda point: point.price.latency
)

SIZE = CostAxis("size", "MB on disk", lambda point: point.price.megabytes)


def pareto_page(front: ParetoFront) -> str:
    """Return what a search over several numbers of layers found as HTML."""
    plots = tuple(
        Plot(
            f"quality-{axis.id}",
            f"Quality against {axis.id}",
            quality_cost_plot(front, axis),
            quality_cost_table(front, axis),
        )
        for axis in (LATENCY, SIZE)
    )
    explanation = Text(
        "Each mark is a number of layers, filled where it is on the Pareto front; the line is the "
        "best validation quality for so much latency, or size. The dashes are the same models on "
        "the test split, which decided nothing. Thin lines are 95 % intervals: horizontal ones of "
        "the latency, vertical ones of the quality on test.",
        aside=True,
    )
    table = (TableWithBars(pareto_table(front)), Text(pareto_how_to_read(front), aside=True))
    studies = Text("Each number of layers has a separate study and report:")
    sections = [
        ReportSection("plots", "Quality against latency and size", (Plots(plots), explanation)),
        ReportSection("table", "All numbers of layers", table),
        ReportSection("studies", "Studies", (studies, Items(front.studies))),
    ]
    title, advice, tiles = pareto_title(front), pareto_advice(front), _tiles(front)
    metric = METRICS[front.metric]
    values = {"title": title, "advice": advice, "tiles": tiles, "metric": metric}
    values |= {"sections": sections}
    return render_template("pareto_page.html.j2", values)


def _tiles(front: ParetoFront) -> list[tuple[str, ParetoPoint]]:
    """Return the points to see first with their names, each point once."""
    knee, smallest = f"the {_knee_name(front)}", "the smallest within the limits"
    tiles = [(knee, front.knee)]
    if front.limits.any and front.chosen == front.knee:
        tiles = [(f"{knee}, and {smallest}", front.knee)]
    elif front.limits.any and front.chosen is not None:
        tiles.append((smallest, front.chosen))
    return [*tiles, ("the full model", front.full)]


def _knee_name(front: ParetoFront) -> str:
    """Name `front.knee`, which is only the best point where there is no knee."""
    return "knee" if front.bends else "best on validation"


def quality_cost_plot(front: ParetoFront, axis: CostAxis) -> go.Figure:
    """Draw quality against a cost: validation as marks, test as dashes with its interval.

    The line is the best validation quality for each cost.
    """
    metric = METRICS[front.metric]
    on_front = [
        "circle-open" if is_dominated(p, front.everyone) else "circle" for p in front.points
    ]
    figure = go.Figure(
        [
            _front_line(front, axis),
            _test_dashes(front.everyone, axis, metric),
            _marks(front.points, axis, metric, on_front, TEAL, "validation, by layers kept"),
            _marks([front.full], axis, metric, ["square"], SLATE, "full model"),
        ]
    )
    for name, ring, point in _highlights(front):
        figure.add_scatter(
            x=[axis.value(point)],
            y=[metric.shown(point.validation)],
            mode="markers",
            marker=ring,
            name=name,
            hoverinfo="skip",
        )
    for point in front.everyone:  # above and left of its mark, where no line can be
        figure.add_annotation(
            x=axis.value(point),
            y=metric.shown(point.validation),
            text=str(point.keep),
            xshift=-14,
            yshift=15,
            showarrow=False,
            font={"size": 13},
        )
    apply_style(figure, 440, axis.title, metric.heading(front.metric))
    return figure.update_xaxes(showgrid=False).update_layout(showlegend=True)


def quality_cost_table(front: ParetoFront, axis: CostAxis) -> Table:
    """Return what `quality_cost_plot` draws as a table."""
    names: dict[int, list[str]] = {id(front.full): ["full model"]}
    for name, _, point in _highlights(front):
        names.setdefault(id(point), []).append(name)
    rows = tuple(
        (
            point.layout,
            str(point.keep),
            f"{axis.value(point):.1f}"
            + (f" ({format_range(axis.interval(point))})" if axis.interval else ""),
            *quality_cells(point, METRICS[front.metric]),
            ", ".join(names.get(id(point), [])),
        )
        for point in front.everyone
    )
    quality = ("validation", "test", "95 % interval")
    header = ("layers kept", "number of layers", axis.title, *quality, "mark")
    return Table(f"{front.metric} against {axis.title}", header, rows)


def best_for_cost(points: Sequence[ParetoPoint], axis: CostAxis) -> list[ParetoPoint]:
    """Return the points with a better validation quality than all that cost no more.

    The cheapest comes first.
    """
    best: list[ParetoPoint] = []
    for point in sorted(points, key=lambda point: (axis.value(point), -point.validation)):
        if not best or point.validation > best[-1].validation:
            best.append(point)
    return best


def _highlights(front: ParetoFront) -> list[tuple[str, dict[str, Any], ParetoPoint]]:
    """Return the highlighted points: name, look of the ring around the mark, point."""
    line = {"width": 2.5}
    diamond = {"symbol": "diamond-open", "color": OCHRE, "size": 22, "line": line}
    circle = {"symbol": "circle-open", "color": VIOLET, "size": 26, "line": line}
    highlights = [(_knee_name(front), diamond, front.knee)]
    if front.limits.any and front.chosen is not None:
        highlights.append(("smallest within the limits", circle, front.chosen))
    return highlights


def _front_line(front: ParetoFront, axis: CostAxis) -> go.Scatter:
    best = best_for_cost(front.everyone, axis)
    return go.Scatter(
        x=[axis.value(point) for point in best],
        y=[METRICS[front.metric].shown(point.validation) for point in best],
        mode="lines",
        line={"shape": "hv", "color": TEAL, "width": 2},
        name="Pareto front",
        hoverinfo="skip",
    )


def _test_dashes(points: Sequence[ParetoPoint], axis: CostAxis, metric: Metric) -> go.Scatter:
    intervals = [metric.shown_interval(point.test_low, point.test_high) for point in points]
    values = [metric.shown(point.test) for point in points]
    return go.Scatter(
        x=[axis.value(point) for point in points],
        y=values,
        error_y=interval_bars(values, intervals, MUTED, thickness=1.5),
        mode="markers",
        marker={"symbol": "line-ew-open", "color": MUTED, "size": 12, "line": {"width": 2}},
        name="test, 95 % interval",
        hoverinfo="skip",
    )


def _marks(
    points: Sequence[ParetoPoint],
    axis: CostAxis,
    metric: Metric,
    symbols: Sequence[str],
    color: str,
    name: str,
) -> go.Scatter:
    costs, bars = [axis.value(point) for point in points], None
    outline = {"width": 2, "color": color}
    if axis.interval is not None:  # with caps, which can be seen below the front's line
        intervals = [axis.interval(point) for point in points]
        bars = interval_bars(costs, intervals, MUTED, thickness=1.5, width=5)
    return go.Scatter(
        x=costs,
        y=[metric.shown(point.validation) for point in points],
        mode="markers",
        marker={"symbol": list(symbols), "color": color, "size": 10, "line": outline},
        customdata=[_hover_text(point, metric) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
        name=name,
        error_x=bars,
    )


def _hover_text(point: ParetoPoint, metric: Metric) -> str:
    """Describe the point below the mouse; Plotly reads it as HTML."""
    cost, (validation, test, interval) = point.price, quality_cells(point, metric)
    return "<br>".join(
        [
            f"{point.keep} layers, {escape(str(point.layout))} ({short_label(point.origin)})",
            f"validation {validation}",
            f"test {test} ({interval})",
            f"{cost.latency_ms:.1f} ms a text ({format_range(cost.latency)}), "
            f"{cost.megabytes:.1f} MB",
        ]
    )
