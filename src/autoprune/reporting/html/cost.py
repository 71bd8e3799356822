"""The section on measured cost: memory, latency and throughput, drawn and as a table."""

import shlex
from collections.abc import Callable

import plotly.graph_objects as go

from autoprune.encoders.profiling import Median
from autoprune.evaluation.costs import CostOf, Costs
from autoprune.evaluation.study_files import Studied
from autoprune.reporting.html.comparison import role
from autoprune.reporting.html.components import Code, Items, Part, Plot, Plots, Section, Sheet, Text
from autoprune.reporting.plot_style import dots, listed
from autoprune.reporting.sections import (
    HEADER,
    budgets_table,
    cleaning_table,
    cost,
    costs_table,
    how_measured,
    labels,
    limits,
    repeat_table,
    tuning,
    with_interval,
)
from autoprune.reporting.tables import Table

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


def ending(studied: Studied, id: str, costs: Costs | None) -> list[Section]:
    """Return the sections on how the figures were made, and on what the models cost."""
    setting, comparison = studied.setting, studied.comparison
    data = (Text(labels(setting)), Sheet(cleaning_table(setting)))
    repeat = (
        Code("The command as it was given:", setting.command),
        Sheet(repeat_table(setting, comparison)),
    )
    return [
        Section(f"{id}-data", "Data", data),
        _training(studied, id),
        measured_section(costs, shlex.quote(studied.name), id),
        Section(f"{id}-repeat", "To repeat it", repeat),
        Section(f"{id}-limits", "Limits", (Text(limits(comparison)),)),
    ]


def _training(studied: Studied, id: str) -> Section:
    rows = tuple(
        (row.origin, row.layout, f"{row.parameters:,}", f"{row.seconds:.1f}")
        for row in studied.comparison.rows
    )
    header = ("origin", "layers", "parameters", "seconds of training a run")
    said = (tuning(studied.setting, studied.comparison), cost(studied.comparison, studied.trials))
    parts = (
        Text(" ".join(filter(None, said))),
        Sheet(Table("Training", header, rows)),
        Sheet(budgets_table(studied.setting)),
    )
    return Section(f"{id}-cost", "Budgets and cost", parts)
