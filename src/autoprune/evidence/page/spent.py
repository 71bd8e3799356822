"""The section on measured cost: memory, latency and throughput, drawn and as a table."""

from collections.abc import Callable

import plotly.graph_objects as go

from autoprune.encoders.timing import Median
from autoprune.evidence.costed import HEADER, costs_table, how_measured, with_interval
from autoprune.evidence.costs import CostOf, Costs
from autoprune.evidence.page.compared import role
from autoprune.evidence.page.dots import dots, listed
from autoprune.evidence.page.parts import Code, Items, Part, Plot, Plots, Section, Sheet, Text
from autoprune.evidence.tables import Table

TITLE = "Measured cost"


def measured_section(costs: Costs | None, name: str, id: str) -> Section:
    """Return what was measured of the models of study `name`, or how to have it measured."""
    if costs is None:
        how = Code(
            "Memory, latency and throughput are not measured yet. This measures them on the "
            "machine at hand, and the next report shows them:",
            f"autoprune cost {name}",
        )
        return Section(f"{id}-measured", TITLE, (how,))
    plots = (
        _plot(costs, f"{id}-latency", "Latency, one text", HEADER[2], _latency, (1000, 2)),
        _plot(
            costs,
            f"{id}-throughput",
            f"Throughput, batches of {costs.batch}",
            HEADER[3],
            _throughput,
            (1, 0),
        ),
    )
    parts: list[Part] = [Items(costs.alarms)] if costs.alarms else []
    told = f"{how_measured(costs)} {' '.join(costs.notes)}"
    parts += [Plots(plots), Sheet(costs_table(costs)), Text(told, aside=True)]
    return Section(f"{id}-measured", TITLE, tuple(parts))


def _latency(one: CostOf) -> Median:
    return one.latency


def _throughput(one: CostOf) -> Median:
    return one.throughput


def _plot(
    costs: Costs,
    id: str,
    title: str,
    axis: str,
    figure_of: Callable[[CostOf], Median],
    written: tuple[float, int],
) -> Plot:
    """Return a plot of one figure of each model, in `written` units and digits."""
    unit, digits = written
    figures = [figure_of(one) for one in costs.models]
    drawn = dots(
        [one.name for one in costs.models],
        [unit * one.median for one in figures],
        [(unit * one.low, unit * one.high) for one in figures],
        [f"{unit * one.median:,.{digits}f}" for one in figures],
        [role(one.name) for one in costs.models],
    )
    figure: go.Figure = listed(drawn, f"{axis}, with 95 % interval")
    figure.update_xaxes(rangemode="tozero")
    rows = tuple(
        (model.name, model.layout, with_interval(one, unit, digits))
        for model, one in zip(costs.models, figures, strict=True)
    )
    return Plot(id, title, figure, Table(title, ("model", "layers", axis), rows))
