"""Plots of the search and of the classes; each is worth one look."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from autoprune.evidence.figures import label
from autoprune.evidence.layers import went_on
from autoprune.evidence.page.classes import Classes
from autoprune.evidence.page.pairs import Pair
from autoprune.evidence.palette import BELOW_ABOVE, GRID, MUTED, OCHRE, SLATE, TEAL, calm
from autoprune.evidence.record import Record
from autoprune.layouts.strategies import STRATEGIES

_MARKS = [(TEAL, "circle"), (OCHRE, "diamond"), (SLATE, "square")]


def course(trials: Sequence[Record]) -> go.Figure:
    """Draw each trial's validation quality in % in order, and the best so far as a line.

    What went on to the full budget is drawn beside the line, not in it.
    """
    further = went_on(trials)
    scored = [(i, trial) for i, trial in enumerate(trials, 1) if trial.scores]
    kinds = {
        "fixed strategy": (OCHRE, "diamond"),
        "proposed": (SLATE, "circle"),
        "stopped early": (SLATE, "x-thin-open"),
        "at the full budget": (TEAL, "star"),
    }
    best: list[tuple[int, float]] = []
    for number, trial in scored:
        if trial.state == "complete" and not further[number - 1]:
            now = 100 * trial.scores[-1].quality
            best.append((number, max(now, best[-1][1]) if best else now))
    figure = go.Figure()
    if best:
        ends = [*best, (len(trials), best[-1][1])]
        figure.add_scatter(
            x=[number for number, _ in ends],
            y=[value for _, value in ends],
            mode="lines",
            line={"shape": "hv", "color": TEAL, "width": 2},
            name="best so far",
            hoverinfo="skip",
        )
    for kind, (colour, symbol) in kinds.items():
        mine = [
            (number, trial) for number, trial in scored if _kind(trial, further[number - 1]) == kind
        ]
        if mine:
            figure.add_scatter(
                x=[number for number, _ in mine],
                y=[100 * trial.scores[-1].quality for _, trial in mine],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8, "line": {"width": 0}},
                name=kind,
                text=[str(trial.layout) for _, trial in mine],
                hovertemplate="trial %{x}: %{text}<br>%{y:.1f} %<extra></extra>",
            )
    figure = calm(figure, 320, "trial", "validation quality, %")
    figure.update_xaxes(showgrid=False, range=[0.5, len(trials) + 0.5], tickformat="d")
    return figure


def by_class(found: Sequence[Classes], names: Sequence[str], rows: NDArray[np.int64]) -> go.Figure:
    """Draw F1 of each class in %, one mark for each entrant, the best class on top.

    Classes without test rows are left out.
    """
    order = sorted(np.flatnonzero(rows).tolist(), key=lambda i: -found[0].f1[i])
    places = np.arange(len(order))
    figure = go.Figure()
    for place in places[1:].tolist():
        edge = {"color": GRID, "width": 1}
        figure.add_hline(y=place - 0.5, line=edge, layer="below")
    for nth, (one, (colour, symbol)) in enumerate(zip(found, _MARKS, strict=False)):
        figure.add_scatter(
            x=[100 * float(one.f1[i]) for i in order],
            y=(places + 0.24 * (nth - (len(found) - 1) / 2)).tolist(),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=label(one.origin),
            hovertemplate="%{x:.1f} %",
        )
    figure = calm(figure, 90 + 30 * len(order), "F1, %, mean over the seeds", "")
    figure.update_yaxes(
        tickmode="array",
        tickvals=places.tolist(),
        ticktext=[label(names[i]) for i in order],
        range=[len(order) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=True)
    return figure


def together(found: Sequence[Pair]) -> go.Figure:
    """Draw the pairs of layers as a grid: teal where both together give more, ochre less."""
    joint = {(pair.first, pair.second): 100 * pair.joint for pair in found}
    layers = range(max(pair.second for pair in found) + 1)
    most = max(map(abs, joint.values())) or 1.0
    cells = go.Heatmap(
        x=list(layers[:-1]),
        y=list(layers[1:]),
        z=[[joint.get((x, y)) for x in layers[:-1]] for y in layers[1:]],
        zmin=-most,
        zmax=most,
        colorscale=BELOW_ABOVE,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        hovertemplate="layers %{x} and %{y}: %{z:+.1f} points<extra></extra>",
        colorbar={
            "thickness": 8,
            "outlinewidth": 0,
            "len": 0.9,
            "title": {"text": "points", "font": {"size": 12}},
            "tickfont": {"color": MUTED, "size": 12},
        },
    )
    figure = calm(go.Figure(cells), 380, "layer", "layer")
    each = {"tickmode": "linear", "dtick": 1 if len(layers) <= 12 else 2, "showgrid": False}
    figure.update_xaxes(**each)
    figure.update_yaxes(**each)
    return figure


def shares(importances: Mapping[str, float]) -> go.Figure:
    """Draw each layer's share in the variance of the scores, in %."""
    bars = go.Bar(
        x=[label(name.removeprefix("layer ")) for name in importances],
        y=[100 * share for share in importances.values()],
        width=0.62,
        marker_color=SLATE,
        hovertemplate="layer %{x}: %{y:.1f} %<extra></extra>",
    )
    figure = calm(go.Figure(bars), 260, "layer, 0 is nearest the embeddings", "share, %")
    figure.update_xaxes(type="category", showgrid=False, dtick=1 if len(importances) <= 12 else 2)
    return figure


def _kind(trial: Record, further: bool) -> str:
    if further:
        return "at the full budget"
    if trial.state != "complete":
        return "stopped early"
    return "fixed strategy" if trial.origin in STRATEGIES else "proposed"
