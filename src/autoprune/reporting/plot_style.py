"""The palette: few calm colours with a light and a dark form each, and the look of all figures.

Colours of marks have at least 3:1 contrast to the surface, those of text 4.5:1, in both forms; no
figure tells two things apart by colour alone.
"""

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.reporting.tables import table_line

INK = "#1f2a33"

MUTED = "#55626e"

GRID = "#e3e6ea"

SURFACE = "#ffffff"

TEAL = "#0b7a75"

OCHRE = "#b05a08"

SLATE = "#4a5a6b"

VIOLET = "#75579a"

FAINT = "#d3dae0"

NEUTRAL = "#f2f3f1"

DARK = {
    INK: "#e6eaee",
    MUTED: "#a9b4be",
    GRID: "#2d363e",
    SURFACE: "#181d22",
    TEAL: "#4cc2b4",
    OCHRE: "#eba75c",
    SLATE: "#a8b6c4",
    VIOLET: "#c5abe2",
    FAINT: "#3a4550",
    NEUTRAL: "#262d34",
}
"""The dark form of each colour: a page looks a figure's colours up here."""

BELOW_ABOVE = [[0.0, OCHRE], [0.5, NEUTRAL], [1.0, TEAL]]
"""A colour scale for figures around 0."""

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Devanagari", sans-serif'
)

_AXIS: dict[str, Any] = {
    "fixedrange": True,
    "automargin": True,
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "ticks": "",
    "tickfont": {"color": MUTED, "size": 12},
    "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
}


def apply_style(figure: go.Figure, height: int, x: str, y: str) -> go.Figure:
    """Give `figure` the common look in place and return it; `x` and `y` are the axes' titles."""
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        paper_bgcolor=SURFACE,
        plot_bgcolor=SURFACE,
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 8, "r": 16, "t": 12, "b": 8},
        dragmode=False,
        hoverlabel={"bgcolor": SURFACE, "bordercolor": MUTED, "font": {"color": INK}},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "font": {"color": INK, "size": 12},
            "itemclick": False,
            "itemdoubleclick": False,
        },
    )
    figure.update_xaxes(**_AXIS, title_text=x)
    figure.update_yaxes(**_AXIS, title_text=y)
    return figure


MAX_LABEL = 26  # characters of a label in a figure; the tables have them whole


def short_label(text: str) -> str:
    """Return text from outside such that a figure shows it as it is, on one line, cut if long.

    Plotly reads `<` and `&` in texts as HTML.

    >>> label("<b>x</b>")
    '&lt;b&gt;x&lt;/b&gt;'
    """
    whole = table_line(text)
    short = whole if len(whole) <= MAX_LABEL else whole[: MAX_LABEL - 1] + "…"
    return html.escape(short, quote=False)


def layout_dots(
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
            customdata=[[short_label(name), f"{low:.1f} to {high:.1f}"]],
            hovertemplate="%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            meta=short_label(name),
            showlegend=False,
        )
        for i, (name, mean, (low, high), text, look) in enumerate(
            zip(names, means, ends, texts, looks, strict=True)
        )
    ]


def join_with_and(drawn: Sequence[go.Scatter], axis: str) -> go.Figure:
    """Return the figure of some `layout_dots`, named on the left; `axis` says what they are."""
    names = [one.meta for one in drawn]
    figure = apply_style(go.Figure(drawn), 70 + 40 * len(names), axis, "")
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        tickfont={"size": 13},
        range=[len(names) - 0.5, -0.8],
        showgrid=False,
    )
    return figure
