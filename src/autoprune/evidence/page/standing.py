"""The comparison's section: how the entrants stand, drawn, in a table and in words."""

from collections.abc import Sequence

from autoprune.evidence.comparison import Row
from autoprune.evidence.page.compared import differences, quality
from autoprune.evidence.page.parts import Items, Plot, Plots, Section, Sheet, Text
from autoprune.evidence.report import entrants_table, happened, reading
from autoprune.evidence.studied import Studied
from autoprune.evidence.tables import Table
from autoprune.evidence.verdict import against_others, p_text, points

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
