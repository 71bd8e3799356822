"""Plots of the comparison: each entrant as a dot with its interval."""

import plotly.graph_objects as go

from autoprune.evidence.answers import Difference
from autoprune.evidence.comparison import Comparison
from autoprune.evidence.page.dots import dots, listed
from autoprune.evidence.palette import MUTED, OCHRE, SLATE, TEAL, VIOLET
from autoprune.evidence.verdict import points
from autoprune.layouts.strategies import STRATEGIES

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
