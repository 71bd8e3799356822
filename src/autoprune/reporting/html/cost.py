"""The section on measured cost: memory, latency and throughput, drawn and as a table."""

import shlex
from collections.abc import Callable

import plotly.graph_objects as go

from autoprune.encoders.profiling import MedianInterval
from autoprune.evaluation.costs import Costs, MeasuredCost
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.reporting.html.comparison import entrant_role
from autoprune.reporting.html.components import (
    Code,
    Items,
    Part,
    Plot,
    Plots,
    Section,
    TableWithBars,
    Text,
)
from autoprune.reporting.plot_style import join_with_and, layout_dots
from autoprune.reporting.sections import (
    COST_HEADER,
    budgets_table,
    cleaning_table,
    cost_conditions,
    costs_table,
    format_interval,
    labels_text,
    limits_text,
    repeat_table,
    training_cost_text,
    tuning_text,
)
from autoprune.reporting.tables import Table

COST_TITLE = "Measured cost"


def measured_section(costs: Costs | None, name: str, id: str) -> Section:
    """Return what was measured of the models of study `name`, or how to have it measured."""
    if costs is None:
        how = Code(
            "Memory, latency and throughput are not measured yet. This measures them on the "
            "machine at hand, and the next report shows them:",
            f"autoprune cost {name}",
        )
        return Section(f"{id}-measured", COST_TITLE, (how,))
    plots = (
        _plot(costs, f"{id}-latency", "Latency, one text", COST_HEADER[2], _latency, (1000, 2)),
        _plot(
            costs,
            f"{id}-throughput",
            f"Throughput, batches of {costs.batch}",
            COST_HEADER[3],
            _throughput,
            (1, 0),
        ),
    )
    parts: list[Part] = [Items(costs.alarms)] if costs.alarms else []
    told = f"{cost_conditions(costs)} {' '.join(costs.notes)}"
    parts += [Plots(plots), TableWithBars(costs_table(costs)), Text(told, aside=True)]
    return Section(f"{id}-measured", COST_TITLE, tuple(parts))


def _latency(one: MeasuredCost) -> MedianInterval:
    return one.latency


def _throughput(one: MeasuredCost) -> MedianInterval:
    return one.throughput


def _plot(
    costs: Costs,
    id: str,
    title: str,
    axis: str,
    figure_of: Callable[[MeasuredCost], MedianInterval],
    written: tuple[float, int],
) -> Plot:
    """Return a plot of one figure of each model, in `written` units and digits."""
    unit, digits = written
    figures = [figure_of(one) for one in costs.models]
    drawn = layout_dots(
        [one.name for one in costs.models],
        [unit * one.median for one in figures],
        [(unit * one.low, unit * one.high) for one in figures],
        [f"{unit * one.median:,.{digits}f}" for one in figures],
        [entrant_role(one.name) for one in costs.models],
    )
    figure: go.Figure = join_with_and(drawn, f"{axis}, with 95 % interval")
    figure.update_xaxes(rangemode="tozero")
    rows = tuple(
        (model.name, model.layout, format_interval(one, unit, digits))
        for model, one in zip(costs.models, figures, strict=True)
    )
    return Plot(id, title, figure, Table(title, ("model", "layers", axis), rows))


def next_steps_section(studied: FinishedStudy, id: str, costs: Costs | None) -> list[Section]:
    """Return the sections on how the figures were made, and on what the models cost."""
    setting, comparison = studied.setting, studied.comparison
    data = (Text(labels_text(setting)), TableWithBars(cleaning_table(setting)))
    repeat = (
        Code("The command as it was given:", setting.command),
        TableWithBars(repeat_table(setting, comparison)),
    )
    return [
        Section(f"{id}-data", "Data", data),
        _training(studied, id),
        measured_section(costs, shlex.quote(studied.name), id),
        Section(f"{id}-repeat", "To repeat it", repeat),
        Section(f"{id}-limits", "Limits", (Text(limits_text(comparison)),)),
    ]


def _training(studied: FinishedStudy, id: str) -> Section:
    rows = tuple(
        (row.origin, row.layout, f"{row.parameters:,}", f"{row.seconds:.1f}")
        for row in studied.comparison.rows
    )
    header = ("origin", "layers", "parameters", "seconds of training a run")
    said = (
        tuning_text(studied.setting, studied.comparison),
        training_cost_text(studied.comparison, studied.trials),
    )
    parts = (
        Text(" ".join(filter(None, said))),
        TableWithBars(Table("Training", header, rows)),
        TableWithBars(budgets_table(studied.setting)),
    )
    return Section(f"{id}-cost", "Budgets and cost", parts)
