"""The comparison's section: how the entrants stand, drawn, in a table and in words."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.evaluation.comparison import Comparison, Row
from autoprune.evaluation.predictions import Difference
from autoprune.evaluation.study_files import Studied
from autoprune.evaluation.verdict import against_others, p_text, points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.html.components import Items, Plot, Plots, Section, Sheet, Text
from autoprune.reporting.markdown_report import entrants_table, happened, reading
from autoprune.reporting.plot_style import MUTED, OCHRE, SLATE, TEAL, VIOLET, dots, listed
from autoprune.reporting.tables import Table

_FINDINGS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


def quality(comparison: Comparison) -> go.Figure:
    """Draw each entrant's test quality in % as a dot with its 95 % interval."""
    rows = comparison.rows
    drawn = dots(
        [row.origin for row in rows],
        [100 * row.test_mean for row in rows],
        [(100 * row.test_low, 100 * row.test_high) for row in rows],
        [f"{100 * row.test_mean:.1f}" for row in rows],
        [role(row.origin) for row in rows],
    )
    return listed(drawn, f"{comparison.metric}, %, with 95 % interval")


def differences(comparison: Comparison) -> go.Figure:
    """Draw each entrant's difference from the best fixed strategy in points, with its interval."""
    rows = [row for row in comparison.rows if row.origin != comparison.reference]
    gaps = [row.difference for row in rows]
    drawn = dots(
        [row.origin for row in rows],
        [100 * gap.mean for gap in gaps],
        [(100 * gap.low, 100 * gap.high) for gap in gaps],
        [_told(gap) for gap in gaps],
        [(_FINDINGS[gap.finding], "circle") for gap in gaps],
    )
    figure = listed(drawn, f"points against {comparison.reference}, with 95 % interval")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    for dot in figure.data:  # away from the line at 0, which would cross the figure
        dot.textposition = "top left" if dot.x[0] < 0 else "top right"
    return figure


def _told(gap: Difference) -> str:
    """Write a difference, with the finding where there is one: colour alone does not tell it."""
    told = gap.finding if gap.finding in ("better", "worse") else ""
    return f"{points(gap.mean)} {told}".rstrip()


def role(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (SLATE, "square") if origin == "full" else (VIOLET, "triangle-up")


CELLS = "A tall cell is a layer that is kept, the one nearest the embeddings first."


def comparison_section(studied: Studied, id: str) -> Section:
    """Return the comparison: quality and differences with intervals, the table, what is said."""
    comparison = studied.comparison
    plots = [
        Plot(
            f"{id}-quality",
            "Quality on the test split",
            quality(comparison),
            _quality_table(comparison.rows),
        )
    ]
    others = [row for row in comparison.rows if row.origin != comparison.reference]
    if others:
        plots.append(
            Plot(
                f"{id}-differences",
                f"Difference from {comparison.reference}, the best fixed strategy",
                differences(comparison),
                _differences_table(others, comparison.reference),
            )
        )
    told = (*comparison.left_out, *against_others(comparison), *happened(comparison))
    return Section(
        f"{id}-comparison",
        "Comparison on the test split",
        (
            Plots(tuple(plots)),
            Sheet(entrants_table(comparison)),
            *([Items(told)] if told else []),
            Text(f"{reading(comparison)} {CELLS}", aside=True),
        ),
    )


def _quality_table(rows: Sequence[Row]) -> Table:
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


def _differences_table(rows: Sequence[Row], reference: str) -> Table:
    cells = [
        (
            row.origin,
            points(row.difference.mean),
            points(row.difference.low),
            points(row.difference.high),
            p_text(row.difference.p_value),
            row.difference.finding,
        )
        for row in rows
    ]
    header = ("origin", "points", "low", "high", "p", "finding")
    return Table(f"Points against {reference}", header, tuple(cells))
