"""Figures of the search: what each layer goes with, and the layouts that were tried."""

import html
from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from autoprune.evidence.layers import comparable, effects
from autoprune.evidence.markdown import line
from autoprune.evidence.palette import FAINT, GRID, MUTED, OCHRE, TEAL, calm
from autoprune.evidence.record import Record
from autoprune.evidence.verdict import points
from autoprune.layouts.layout import Layout

LONGEST = 26  # characters of a label in a figure; the tables have them whole


def label(text: str) -> str:
    """Return text from outside such that a figure shows it as it is, on one line, cut if long.

    Plotly reads `<` and `&` in texts as HTML.

    >>> label("<b>x</b>")
    '&lt;b&gt;x&lt;/b&gt;'
    """
    whole = line(text)
    short = whole if len(whole) <= LONGEST else whole[: LONGEST - 1] + "…"
    return html.escape(short, quote=False)


def layer_effects(trials: Sequence[Record]) -> go.Figure:
    """Draw the mean validation quality of the trials that keep a layer minus of those without it.

    One bar a layer, in points, from the complete trials; a layer that all or none keep has none.
    """
    known = [effect for effect in effects(trials) if effect.difference is not None]
    gaps = [100 * (effect.difference or 0.0) for effect in known]
    bars = go.Bar(
        x=[effect.layer for effect in known],
        y=gaps,
        width=0.62,
        marker_color=[TEAL if gap >= 0 else OCHRE for gap in gaps],
        text=[points(gap / 100) for gap in gaps],
        textposition="none",
        customdata=[[effect.kept, effect.removed] for effect in known],
        hovertemplate="layer %{x}: %{text} points<br>%{customdata[0]} trials keep it, "
        "%{customdata[1]} remove it<extra></extra>",
    )
    figure = calm(
        go.Figure(bars),
        300,
        "layer, 0 is nearest the embeddings",
        "points, kept minus removed",
    )
    figure.update_xaxes(dtick=1 if len(known) <= 12 else 2, showgrid=False)
    figure.update_yaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1)
    return figure


def tried(trials: Sequence[Record]) -> list[tuple[Layout, float]]:
    """Return each layout of comparable trials with its mean validation quality, best first."""
    runs: dict[Layout, list[float]] = {}
    for trial in comparable(trials):
        runs.setdefault(trial.layout, []).append(trial.score("validation").quality)
    means = [(layout, fmean(qualities)) for layout, qualities in runs.items()]
    return sorted(means, key=lambda one: -one[1])


def layout_map(trials: Sequence[Record]) -> go.Figure:
    """Draw the layouts of the complete trials as rows of layer cells, the best score on top."""
    rows = tried(trials)
    depth = rows[0][0].depth if rows else 0
    names = [f"{layout}  {100 * quality:.1f} %" for layout, quality in rows]
    cells = go.Heatmap(
        z=[layout.flags for layout, _ in rows],
        x=list(range(depth)),
        y=names,
        zmin=0,
        zmax=1,
        colorscale=[[0, FAINT], [1, TEAL]],
        showscale=False,
        xgap=2,
        ygap=3,
        customdata=[["kept" if flag else "removed" for flag in row.flags] for row, _ in rows],
        hovertemplate="%{y}<br>layer %{x} %{customdata}<extra></extra>",
    )
    figure = calm(go.Figure(cells), 70 + 18 * len(rows), "layer, 0 is nearest the embeddings", "")
    figure.update_xaxes(dtick=1 if depth <= 12 else 2, showgrid=False, linecolor=GRID)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, dtick=1)
    figure.update_yaxes(tickfont={"family": "ui-monospace, monospace", "size": 11})
    return figure
