"""The comparison's section: how the entrants stand, drawn, in a table and in words."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.evaluation.verdict import against_others, format_p, format_points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.html.components import Items, Plot, Plots, Section, TableWithBars, Text
from autoprune.reporting.markdown_report import entrants_table, failures_text, how_to_read
from autoprune.reporting.plot_style import (
    MUTED,
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    join_with_and,
    layout_dots,
)
from autoprune.reporting.tables import Table

_FINDINGS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


def quality_plot(comparison: Comparison) -> go.Figure:
    """Draw each entrant's test quality in % as a dot with its 95 % interval."""
    rows = comparison.rows
    drawn = layout_dots(
        [row.origin for row in rows],
        [100 * row.test_mean for row in rows],
        [(100 * row.test_low, 100 * row.test_high) for row in rows],
        [f"{100 * row.test_mean:.1f}" for row in rows],
        [entrant_role(row.origin) for row in rows],
    )
    return join_with_and(drawn, f"{comparison.metric}, %, with 95 % interval")


def differences_plot(comparison: Comparison) -> go.Figure:
    """Draw each entrant's difference from the best fixed strategy in points, with its interval."""
    rows = [row for row in comparison.rows if row.origin != comparison.reference]
    gaps = [row.difference for row in rows]
    drawn = layout_dots(
        [row.origin for row in rows],
        [100 * gap.mean for gap in gaps],
        [(100 * gap.low, 100 * gap.high) for gap in gaps],
        [_told(gap) for gap in gaps],
        [(_FINDINGS[gap.finding], "circle") for gap in gaps],
    )
    figure = join_with_and(drawn, f"points against {comparison.reference}, with 95 % interval")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    for dot in figure.data:  # away from the line at 0, which would cross the figure
        dot.textposition = "top left" if dot.x[0] < 0 else "top right"
    return figure


def _told(gap: PairedDifference) -> str:
    """Write a difference, with the finding where there is one: colour alone does not tell it."""
    told = gap.finding if gap.finding in ("better", "worse") else ""
    return f"{format_points(gap.mean)} {told}".rstrip()


def entrant_role(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (SLATE, "square") if origin == "full" else (VIOLET, "triangle-up")


METER_CELLS = "A tall cell is a layer that is kept, the one nearest the embeddings first."


def comparison_section(studied: FinishedStudy, id: str) -> Section:
    """Return the comparison: quality and differences with intervals, the table, what is said."""
    comparison = studied.comparison
    plots = [
        Plot(
            f"{id}-quality",
            "Quality on the test split",
            quality_plot(comparison),
            _quality_table(comparison.rows),
        )
    ]
    others = [row for row in comparison.rows if row.origin != comparison.reference]
    if others:
        plots.append(
            Plot(
                f"{id}-differences",
                f"Difference from {comparison.reference}, the best fixed strategy",
                differences_plot(comparison),
                _differences_table(others, comparison.reference),
            )
        )
    told = (*comparison.left_out, *against_others(comparison), *failures_text(comparison))
    return Section(
        f"{id}-comparison",
        "Comparison on the test split",
        (
            Plots(tuple(plots)),
            TableWithBars(entrants_table(comparison)),
            *([Items(told)] if told else []),
            Text(f"{how_to_read(comparison)} {METER_CELLS}", aside=True),
        ),
    )


def _quality_table(rows: Sequence[ComparisonRow]) -> Table:
    cells = [
        (
            row.origin,
            f"{100 * row.test_mean:.1f}",
            f"{100 * row.test_low:.1f}",
            f"{100 * row.test_high:.1f}",
        )
        for row in rows
    ]
    return Table("Quality on the test split, %", ("origin", "mean", "low", "high"), tuple(cells))


def _differences_table(rows: Sequence[ComparisonRow], reference: str) -> Table:
    cells = [
        (
            row.origin,
            format_points(row.difference.mean),
            format_points(row.difference.low),
            format_points(row.difference.high),
            format_p(row.difference.p_value),
            row.difference.finding,
        )
        for row in rows
    ]
    header = ("origin", "points", "low", "high", "p", "finding")
    return Table(f"Points against {reference}", header, tuple(cells))
