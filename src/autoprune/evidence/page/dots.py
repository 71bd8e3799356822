"""Dots: figures of several models, each with its interval, one below the other."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.evidence.figures import label
from autoprune.evidence.palette import calm


def dots(
    names: Sequence[str],
    means: Sequence[float],
    ends: Sequence[tuple[float, float]],
    texts: Sequence[str],
    looks: Sequence[tuple[str, str]],
) -> list[go.Scatter]:
    """Draw a dot with interval and figure for each name, the first on top.

    `ends` are those of the intervals, `looks` colour and symbol.
    """
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
            customdata=[[label(name), f"{low:.1f} to {high:.1f}"]],
            hovertemplate="%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            meta=label(name),
            showlegend=False,
        )
        for i, (name, mean, (low, high), text, look) in enumerate(
            zip(names, means, ends, texts, looks, strict=True)
        )
    ]


def listed(drawn: Sequence[go.Scatter], axis: str) -> go.Figure:
    """Return the figure of some `dots`, named on the left; `axis` says what they are."""
    names = [one.meta for one in drawn]
    figure = calm(go.Figure(drawn), 70 + 40 * len(names), axis, "")
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        tickfont={"size": 13},
        range=[len(names) - 0.5, -0.8],
        showgrid=False,
    )
    return figure
