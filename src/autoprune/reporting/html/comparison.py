"""Plots of the comparison: quality and cost of the entrants as dots with intervals."""

from collections.abc import Sequence

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.verdict import format_points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.html.components import Plot
from autoprune.reporting.plot_style import OCHRE, SLATE, TEAL, VIOLET, ZERO_LINE, Dot, dot_plot
from autoprune.reporting.tables import LATENCY_COLUMN, THROUGHPUT_COLUMN, Table

_FINDING_COLORS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


def _plot(id: str, title: str, column: str, dots: Sequence[Dot], digits: int = 1) -> Plot:
    """Draw dots with their intervals; their table has `digits` after the point."""
    rows = tuple(
        (dot.name, dot.label, f"{dot.low:,.{digits}f}", f"{dot.high:,.{digits}f}") for dot in dots
    )
    table = Table(title, ("origin", column, "low", "high"), rows)
    return Plot(id, title, dot_plot(dots, f"{column},<br>with 95 % interval"), table)


def entrant_mark(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (
        (SLATE, "square")
        if origin in ("full", "majority", "tf-idf", "dictionary")
        else (VIOLET, "triangle-up")
    )


def comparison_plots(comparison: Comparison) -> list[Plot]:
    """Return the plots of quality, and of differences from the reference where there are others."""
    plots = [quality_plot(comparison)]
    return [*plots, differences_plot(comparison)] if len(comparison.rows) > 1 else plots


def quality_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's test quality in % as a dot with its 95 % interval."""
    dots = [
        Dot(
            row.origin,
            100 * row.test_mean,
            100 * row.test_low,
            100 * row.test_high,
            f"{100 * row.test_mean:.1f}",
            *entrant_mark(row.origin),
        )
        for row in comparison.all_rows
    ]
    return _plot("quality", "Quality on the test split", f"{comparison.metric}, %", dots)


def differences_plot(comparison: Comparison) -> Plot:
    """Draw each entrant's difference from the best fixed strategy in points, with its interval."""
    reference = comparison.reference
    dots = []
    for row in comparison.all_rows:
        gap = row.difference
        label = format_points(gap.mean)
        if gap.finding in ("better", "worse"):  # color alone must not tell it
            label = f"{label} {gap.finding}"
        if row.origin != reference:
            numbers = (100 * gap.mean, 100 * gap.low, 100 * gap.high)
            dots.append(Dot(row.origin, *numbers, label, _FINDING_COLORS[gap.finding]))
    title = f"Difference from {reference}, the best fixed strategy"
    plot = _plot("differences", title, f"points against {reference}", dots)
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
