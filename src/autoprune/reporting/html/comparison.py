"""Plots of the comparison: quality and cost of the entrants as dots with intervals."""

from collections.abc import Sequence

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.simple_models import SIMPLE_ORIGINS
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.html.components import Plot
from autoprune.reporting.plot_style import OCHRE, SLATE, TEAL, VIOLET, ZERO_LINE, Dot, dot_plot
from autoprune.reporting.tables import LATENCY_COLUMN, THROUGHPUT_COLUMN, Table
from autoprune.training.metrics import METRICS

_FINDING_COLORS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


def _plot(id: str, title: str, column: str, dots: Sequence[Dot], digits: int = 1) -> Plot:
    """Draw dots with their intervals; their table has `digits` after the point."""
    rows = tuple(
        (dot.name, dot.label, f"{dot.low:,.{digits}f}", f"{dot.high:,.{digits}f}") for dot in dots
    )
    table = Table(title, ("origin", column, "low", "high"), rows)
    return Plot(id, title, dot_plot(dots, f"{column},<br>with 95 % interval", digits), table)


def entrant_mark(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (SLATE, "square") if origin in ("full", *SIMPLE_ORIGINS) else (VIOLET, "triangle-up")


def comparison_plots(comparison: Comparison) -> list[Plot]:
    """Return the plots of quality, and of differences from the reference where there are others."""
    plots = [quality_plot(comparison)]
    return [*plots, differences_plot(comparison)] if len(comparison.rows) > 1 else plots


def quality_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's test quality as a dot with its 95 % interval."""
    metric = METRICS[comparison.metric]
    dots = [
        Dot(
            row.origin,
            metric.shown(row.test_mean),
            *metric.shown_interval(row.test_low, row.test_high),
            metric.format_number(row.test_mean),
            *entrant_mark(row.origin),
        )
        for row in comparison.all_rows
    ]
    column = metric.heading(comparison.metric)
    return _plot("quality", "Quality on the test split", column, dots, metric.digits)


def differences_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's difference from the best fixed strategy, with its interval."""
    reference, metric = comparison.reference, METRICS[comparison.metric]
    dots = []
    for row in comparison.all_rows:
        gap = row.difference
        label = metric.format_difference(gap.mean)
        if gap.finding in ("better", "worse"):  # color alone must not tell it
            label = f"{label} {gap.finding}"
        if row.origin != reference:
            numbers = metric.scale * gap.mean, metric.scale * gap.low, metric.scale * gap.high
            dots.append(Dot(row.origin, *numbers, label, _FINDING_COLORS[gap.finding]))
    title = f"Difference from {reference}, the best fixed strategy"
    column = f"{metric.points} against {reference}{metric.note}"
    plot = _plot("differences", title, column, dots, metric.digits)
    plot.figure.update_xaxes(ZERO_LINE)
    return plot


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
    plot = _plot(field, title, column, dots, digits)
    plot.figure.update_xaxes(rangemode="tozero")
    return plot
