"""Plot style: the colours of plots and pages with their light and dark forms, and Plotly layouts.

Colours of marks have a contrast of at least 3:1 to the surface, colours of text 4.5:1, in both
forms. No plot tells two things apart by colour alone.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from autoprune.reporting.markdown import single_line

PALETTE = {
    "page": ("#f6f5f2", "#101417"),
    "surface": ("#ffffff", "#181d22"),
    "soft": ("#edf1f1", "#20272d"),
    "ink": ("#1f2a33", "#e6eaee"),
    "muted": ("#55626e", "#a9b4be"),
    "grid": ("#e3e6ea", "#2d363e"),
    "link": ("#0a615d", "#7cd6cb"),
    "teal": ("#0b7a75", "#4cc2b4"),
    "ochre": ("#b05a08", "#eba75c"),
    "slate": ("#4a5a6b", "#a8b6c4"),
    "violet": ("#75579a", "#c5abe2"),
    "removed": ("#8d9aa6", "#697783"),
    "faint": ("#d3dae0", "#3a4550"),
    "neutral": ("#f2f3f1", "#262d34"),
    "shadow": ("#1f2a3338", "#00000090"),
}
"""Name of each colour -> (light, dark). The style sheet of pages has them as `--name`."""

# Plots are made in the light colours; a page in dark mode replaces each by `DARK[colour]`.
SURFACE = PALETTE["surface"][0]
INK = PALETTE["ink"][0]
MUTED = PALETTE["muted"][0]
GRID = PALETTE["grid"][0]
TEAL = PALETTE["teal"][0]
OCHRE = PALETTE["ochre"][0]
SLATE = PALETTE["slate"][0]
VIOLET = PALETTE["violet"][0]
FAINT = PALETTE["faint"][0]
NEUTRAL = PALETTE["neutral"][0]

DARK = dict(PALETTE.values())

DIVERGING_SCALE = [[0.0, OCHRE], [0.5, NEUTRAL], [1.0, TEAL]]
"""A colour scale for values around 0."""

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Devanagari", sans-serif'
)


def css_variables() -> str:
    """Return the style rules that define each colour, and the font, as a variable."""
    light, dark = (
        " ".join(f"--{name}: {forms[theme]};" for name, forms in PALETTE.items())
        for theme in (0, 1)
    )
    return (
        f":root {{ {light} --font: {FONT}; }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
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

ZERO_LINE = {"zeroline": True, "zerolinecolor": MUTED, "zerolinewidth": 1.5}
"""Properties of an axis whose 0 matters."""


def apply_style(figure: go.Figure, height: int, x_title: str, y_title: str) -> go.Figure:
    """Give `figure` the common look and the titles of its axes in place, and return it."""
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
    figure.update_xaxes(**_AXIS, title_text=x_title)
    figure.update_yaxes(**_AXIS, title_text=y_title)
    return figure


MAX_LABEL = 26  # characters of a label in a plot; the tables have them whole


def short_label(text: str) -> str:
    """Return text from outside such that a plot shows it unchanged, on one line, cut if long.

    Plotly reads `<` and `&` in texts as HTML.

    >>> short_label("<b>x</b>")
    '&lt;b&gt;x&lt;/b&gt;'
    """
    line = single_line(text)
    short = line if len(line) <= MAX_LABEL else line[: MAX_LABEL - 1] + "…"
    return html.escape(short, quote=False)


def label_rows(figure: go.Figure, labels: Sequence[str], top: float = -0.5) -> go.Figure:
    """Name the rows of a plot in place, the first one on top, and return it.

    `top` is the upper end of the axis; row i is at i.
    """
    return figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
        range=[len(labels) - 0.5, top],
        showgrid=False,
    )


def interval_bars(
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    color: str,
    thickness: float = 2,
    width: float = 0,
) -> dict[str, Any]:
    """Return Plotly's error bars that show the interval (low, high) of each value.

    `thickness` is that of the line and `width` that of its caps, in pixels.
    """
    return {
        "array": [high - value for value, (_, high) in zip(values, intervals, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, intervals, strict=True)],
        "color": color,
        "thickness": thickness,
        "width": width,
    }


_LETTER = 8  # pixels that a letter of a label takes at most


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot plot: a value with its interval, its label, and the look of its mark."""

    name: str
    value: float
    low: float
    high: float
    label: str
    color: str
    symbol: str = "circle"


def dot_plot(dots: Sequence[Dot], axis: str, digits: int = 1) -> go.Figure:
    """Draw one dot with its interval in each row, the first on top.

    `axis` is the title of the axis of values; intervals have `digits` after the point. The traces
    have the dots' names in `meta`.
    """
    names = [short_label(dot.name) for dot in dots]
    traces = [
        go.Scatter(
            x=[dot.value],
            y=[row],
            error_x=interval_bars([dot.value], [(dot.low, dot.high)], dot.color),
            mode="markers",
            marker={"color": dot.color, "symbol": dot.symbol, "size": 11},
            text=[dot.label],
            customdata=[[name, f"{dot.low:.{digits}f} to {dot.high:.{digits}f}"]],
            hovertemplate="%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            meta=name,
            showlegend=False,
        )
        for row, (name, dot) in enumerate(zip(names, dots, strict=True))
    ]
    figure = apply_style(go.Figure(traces), 80 + 34 * len(dots), axis, "")
    label_rows(figure, names, top=-0.6)
    for row, dot in enumerate(dots):  # beside the plot, where no mark can cut or cover them
        figure.add_annotation(
            {
                "x": 1,
                "xref": "paper",
                "xanchor": "left",
                "xshift": 6,
                "y": row,
                "yanchor": "middle",
            },
            text=dot.label,
            showarrow=False,
            font={"size": 12, "color": INK},
        )
    longest = max((len(dot.label) for dot in dots), default=0)
    figure.update_layout(margin_r=14 + _LETTER * longest)
    return figure.update_yaxes(tickfont={"size": 13})
