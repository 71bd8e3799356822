"""The page of a front: several numbers of layers as one HTML file, the advice first."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from autoprune.evaluation.pareto import ParetoFront, ParetoPoint, is_dominated
from autoprune.reporting.html.components import Items, Plot, Plots, Section, TableWithBars, Text
from autoprune.reporting.html.render import render_template
from autoprune.reporting.pareto_report import (
    format_range,
    pareto_advice,
    pareto_how_to_read,
    pareto_table,
    pareto_title,
)
from autoprune.reporting.plot_style import (
    MUTED,
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    apply_style,
    short_label,
)
from autoprune.reporting.tables import Table

CostGetter = Callable[[ParetoPoint], float]

IntervalGetter = Callable[[ParetoPoint], tuple[float, float]]

_PLAIN = {"showarrow": False, "font": {"size": 13}}


def quality_cost_plot(
    front: ParetoFront, cost: CostGetter, axis: str, ends: IntervalGetter | None = None
) -> go.Figure:
    """Draw quality in % against `cost`: validation as marks, test as dashes with its interval.

    The line is the best validation quality that each cost buys; `axis` says what the cost is, and
    `ends`, where it was measured with one, give the interval of a cost.
    """
    figure = go.Figure([_line(front, cost), _tests(front.everyone, cost)])
    figure.add_traces([_marks(front, cost, ends), _full(front, cost, ends)])
    for name, (symbol, colour, size, width), one in _picks(front):
        ring = {"symbol": symbol, "size": size, "color": colour, "line": {"width": width}}
        figure.add_scatter(
            x=[cost(one)],
            y=[100 * one.validation],
            mode="markers",
            marker=ring,
            name=name,
            hoverinfo="skip",
        )
    for one in front.everyone:  # above and left of its mark: no line comes from there
        figure.add_annotation(
            x=cost(one), y=100 * one.validation, text=str(one.keep), xshift=-14, yshift=15, **_PLAIN
        )
    apply_style(figure, 440, axis, f"{short_label(front.metric)}, %")
    figure.update_xaxes(showgrid=False)
    figure.update_layout(showlegend=True)
    return figure


def plot_table(
    front: ParetoFront, cost: CostGetter, axis: str, ends: IntervalGetter | None = None
) -> Table:
    """Return what `quality_cost_plot` draws as a table."""
    marked: dict[int, list[str]] = {id(front.full): ["full model"]}
    for name, _, one in _picks(front):
        marked.setdefault(id(one), []).append(name)
    rows = tuple(
        (
            one.layout,
            str(one.keep),
            f"{cost(one):.1f}" + ("" if ends is None else f" ({format_range(ends(one))})"),
            f"{100 * one.validation:.1f} %",
            f"{100 * one.test:.1f} %",
            f"{100 * one.test_low:.1f} to {100 * one.test_high:.1f}",
            ", ".join(marked.get(id(one), [])),
        )
        for one in front.everyone
    )
    header = ("layers kept", "of them", axis, "validation", "test", "95 % interval", "mark")
    return Table(f"{front.metric} against {axis}", header, rows)


def best_for_cost(points: Sequence[ParetoPoint], cost: CostGetter) -> list[ParetoPoint]:
    """Return the points that no cheaper and no equally cheap one equals or beats, cheapest first.

    Quality is that on validation.
    """
    best: list[ParetoPoint] = []
    for one in sorted(points, key=lambda one: (cost(one), -one.validation)):
        if not best or one.validation > best[-1].validation:
            best.append(one)
    return best


def selection_plot(front: ParetoFront) -> str:
    """Say what `front.knee` is, which stands in for a knee where there is none."""
    return "knee" if front.bends else "best on validation"


def _picks(front: ParetoFront) -> list[tuple[str, tuple[str, str, int, float], ParetoPoint]]:
    """Return what is pointed out: its name, its symbol with colour, size and width, the point."""
    picks = [(selection_plot(front), ("diamond-open", OCHRE, 22, 2.5), front.knee)]
    if front.limits.any and front.chosen is not None:
        picks.append(("smallest within the limits", ("circle-open", VIOLET, 26, 2.5), front.chosen))
    return picks


def _line(front: ParetoFront, cost: CostGetter) -> go.Scatter:
    best = best_for_cost(front.everyone, cost)
    return go.Scatter(
        x=[cost(one) for one in best],
        y=[100 * one.validation for one in best],
        mode="lines",
        line={"shape": "hv", "color": TEAL, "width": 2},
        name="front",
        hoverinfo="skip",
    )


def _tests(points: Sequence[ParetoPoint], cost: CostGetter) -> go.Scatter:
    return go.Scatter(
        x=[cost(one) for one in points],
        y=[100 * one.test for one in points],
        error_y={
            "array": [100 * (one.test_high - one.test) for one in points],
            "arrayminus": [100 * (one.test - one.test_low) for one in points],
            "color": MUTED,
            "thickness": 1.5,
            "width": 0,
        },
        mode="markers",
        marker={"symbol": "line-ew-open", "color": MUTED, "size": 12, "line": {"width": 2}},
        name="test, 95 % interval",
        hoverinfo="skip",
    )


def _marks(front: ParetoFront, cost: CostGetter, ends: IntervalGetter | None) -> go.Scatter:
    """Draw the pruned models, filled where they are on the front, named by the layers kept."""
    on = [not is_dominated(one, front.everyone) for one in front.points]
    symbols = ["circle" if held else "circle-open" for held in on]
    return _named(front.points, cost, symbols, TEAL, "validation, by layers kept", ends)


def _full(front: ParetoFront, cost: CostGetter, ends: IntervalGetter | None) -> go.Scatter:
    return _named([front.full], cost, ["square"], SLATE, "full model", ends)


def _named(
    points: Sequence[ParetoPoint],
    cost: CostGetter,
    symbols: Sequence[str],
    colour: str,
    name: str,
    ends: IntervalGetter | None,
) -> go.Scatter:
    return go.Scatter(
        x=[cost(one) for one in points],
        y=[100 * one.validation for one in points],
        mode="markers",
        marker={
            "symbol": list(symbols),
            "color": colour,
            "size": 10,
            "line": {"width": 2, "color": colour},
        },
        customdata=[_told(one) for one in points],
        hovertemplate="%{customdata}<extra></extra>",
        name=name,
        error_x=None if ends is None else _spans(points, cost, ends),
    )


def _spans(points: Sequence[ParetoPoint], cost: CostGetter, ends: IntervalGetter) -> dict[str, Any]:
    """Return the intervals of some costs as plotly wants them: how far each end is away.

    They have ends that can be seen where the front's line runs over them.
    """
    spans = [ends(one) for one in points]
    return {
        "array": [high - cost(one) for one, (_, high) in zip(points, spans, strict=True)],
        "arrayminus": [cost(one) - low for one, (low, _) in zip(points, spans, strict=True)],
        "color": MUTED,
        "thickness": 1.5,
        "width": 5,
    }


def _told(one: ParetoPoint) -> str:
    """Write what is shown of a point that is pointed at; plotly reads it as HTML."""
    return "<br>".join(
        [
            f"{one.keep} layers, {escape(str(one.layout))} ({short_label(one.origin)})",
            f"validation {100 * one.validation:.1f} %",
            f"test {100 * one.test:.1f} % ({100 * one.test_low:.1f} to {100 * one.test_high:.1f})",
            f"{one.price.latency_ms:.1f} ms a text ({format_range(one.price.latency)}), "
            f"{one.price.megabytes:.1f} MB",
        ]
    )


def pareto_page(front: ParetoFront) -> str:
    """Return what a search over several numbers of layers found as HTML."""
    return render_template(
        "front.html.j2",
        title=pareto_title(front),
        advice=pareto_advice(front),
        tiles=_tiles(front),
        sections=[_plots(front), _table(front), _studies(front)],
    )


def _tiles(front: ParetoFront) -> list[tuple[str, ParetoPoint]]:
    """Return the points to see first with what they are, each once."""
    first = f"the {selection_plot(front)}"
    named = {first: front.knee}
    if front.limits.any and front.chosen is not None:
        name = "the smallest within the limits"
        named = named | {name: front.chosen}
        if front.chosen == front.knee:
            named = {f"{first}, and {name}": front.knee}
    return list((named | {"the full model": front.full}).items())


def _plots(front: ParetoFront) -> Section:
    plots = (
        _plot(
            front,
            "latency",
            lambda one: one.price.latency_ms,
            "ms a text",
            lambda one: one.price.latency,
        ),
        _plot(front, "size", lambda one: one.price.megabytes, "MB on disk"),
    )
    read = Text(
        "Each mark is a number of layers, filled where it is on the front; the line is the best "
        "validation quality that so much latency, or size, buys. The dashes are the same models "
        "on the test split, which chose nothing. Thin lines are 95 % intervals: level ones of the "
        "latency, upright ones of the quality on test.",
        aside=True,
    )
    return Section("plots", "Quality against latency and size", (Plots(plots), read))


def _plot(
    front: ParetoFront, name: str, cost: CostGetter, axis: str, ends: IntervalGetter | None = None
) -> Plot:
    figure, table = quality_cost_plot(front, cost, axis, ends), plot_table(front, cost, axis, ends)
    return Plot(f"quality-{name}", f"Quality against {name}", figure, table)


def _table(front: ParetoFront) -> Section:
    parts = (TableWithBars(pareto_table(front)), Text(pareto_how_to_read(front), aside=True))
    return Section("table", "All numbers of layers", parts)


def _studies(front: ParetoFront) -> Section:
    told = Text("Each number of layers is a study of its own, with a report of its own:")
    return Section("studies", "Studies", (told, Items(front.studies)))
