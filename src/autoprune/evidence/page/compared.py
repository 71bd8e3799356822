"""Plots of the comparison: each entrant as a dot with its interval."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.evidence.answers import Difference
from autoprune.evidence.comparison import Comparison, Row
from autoprune.evidence.figures import label
from autoprune.evidence.palette import MUTED, OCHRE, SLATE, TEAL, VIOLET, calm
from autoprune.evidence.verdict import points
from autoprune.layouts.strategies import STRATEGIES

_FINDINGS = {"better": TEAL, "worse": OCHRE, "no difference found": SLATE}


def quality(comparison: Comparison) -> go.Figure:
    """Draw each entrant's test quality in % as a dot with its 95 % interval."""
    rows = comparison.rows
    dots = _dots(
        rows,
        [100 * row.test_mean for row in rows],
        [(100 * row.test_low, 100 * row.test_high) for row in rows],
        [f"{100 * row.test_mean:.1f}" for row in rows],
        [_role(row.origin) for row in rows],
    )
    title = f"{comparison.metric}, %, with 95 % interval"
    figure = calm(go.Figure(dots), 70 + 40 * len(rows), title, "")
    return _listed(figure)


def differences(comparison: Comparison) -> go.Figure:
    """Draw each entrant's difference from the best fixed strategy in points, with its interval."""
    rows = [row for row in comparison.rows if row.origin != comparison.reference]
    gaps = [row.difference for row in rows]
    dots = _dots(
        rows,
        [100 * gap.mean for gap in gaps],
        [(100 * gap.low, 100 * gap.high) for gap in gaps],
        [_told(gap) for gap in gaps],
        [(_FINDINGS[gap.finding], "circle") for gap in gaps],
    )
    title = f"points against {comparison.reference}, with 95 % interval"
    figure = calm(go.Figure(dots), 70 + 40 * len(rows), title, "")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    return _listed(figure)


def _told(gap: Difference) -> str:
    """Write a difference, with the finding where there is one: colour alone does not tell it."""
    told = gap.finding if gap.finding in ("better", "worse") else ""
    return f"{points(gap.mean)} {told}".rstrip()


def _role(origin: str) -> tuple[str, str]:
    """Return colour and symbol of an entrant in the comparison."""
    if origin == "found":
        return TEAL, "circle"
    if origin in STRATEGIES:
        return OCHRE, "diamond"
    return (SLATE, "square") if origin == "full" else (VIOLET, "triangle-up")


def _dots(
    rows: Sequence[Row],
    means: Sequence[float],
    ends: Sequence[tuple[float, float]],
    texts: Sequence[str],
    looks: Sequence[tuple[str, str]],
) -> list[go.Scatter]:
    """Draw a dot with interval and figure for each row, the first on top."""
    return [
        go.Scatter(
            x=[mean],
            y=[i],
            error_x={
                "array": [high - mean],
                "arrayminus": [mean - low],
                "color": look[0],
                "thickness": 2,
                "width": 0,
            },
            mode="markers+text",
            marker={"color": look[0], "symbol": look[1], "size": 11},
            text=[text],
            textposition="top center",
            textfont={"size": 12},
            customdata=[[label(row.origin), f"{low:.1f} to {high:.1f}"]],
            hovertemplate="%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            meta=label(row.origin),
            showlegend=False,
        )
        for i, (row, mean, (low, high), text, look) in enumerate(
            zip(rows, means, ends, texts, looks, strict=True)
        )
    ]


def _listed(figure: go.Figure) -> go.Figure:
    """Name the rows of `_dots` on the left, in place."""
    names = [dots.meta for dots in figure.data]
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        tickfont={"size": 13},
        range=[len(names) - 0.5, -0.8],
        showgrid=False,
    )
    return figure
