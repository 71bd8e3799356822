"""Plots of a search: progress, layer effects, layout map, importances.

The page of a study and Optuna's dashboard show them.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from statistics import fmean

import plotly.graph_objects as go

from autoprune.evaluation.records import Record
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.plot_style import (
    FAINT,
    GRID,
    OCHRE,
    SLATE,
    TEAL,
    ZERO_LINE,
    apply_style,
    short_label,
)
from autoprune.reporting.tables import (
    layer_effects,
    metric_of,
    promoted_to_full_budget,
    same_budget_trials,
)
from autoprune.training.metrics import Metric

_LAYER_AXIS = "layer, 0 is nearest the embeddings"

_TRIAL_MARKS = {
    "fixed strategy": (OCHRE, "diamond"),
    "proposed": (SLATE, "circle"),
    "stopped early": (SLATE, "x-thin-open"),
    "at the full budget": (TEAL, "star"),
}


def progress_plot(trials: Sequence[Record]) -> go.Figure:
    """Draw each trial's validation quality in order, and the best so far as a line.

    Trials promoted to the full budget have marks, but no part in the line.
    """
    metric = metric_of(trials)
    kinds = map(_trial_kind, trials, promoted_to_full_budget(trials))
    numbered = list(zip(count(1), trials, kinds, strict=False))
    figure = go.Figure()
    line = [(i, best) for i, best in enumerate(best_so_far(trials), 1) if best is not None]
    if line:
        figure.add_scatter(
            x=[i for i, _ in line],
            y=[metric.shown(best) for _, best in line],
            mode="lines",
            line={"shape": "hv", "color": TEAL, "width": 2},
            name="best so far",
            hoverinfo="skip",
        )
    for kind, (color, symbol) in _TRIAL_MARKS.items():
        marked = [(i, trial) for i, trial, name in numbered if name == kind and trial.scores]
        if marked:
            figure.add_scatter(
                x=[i for i, _ in marked],
                y=[metric.shown(trial.scores[-1].quality) for _, trial in marked],
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": 8, "line": {"width": 0}},
                name=kind,
                text=[str(trial.layout) for _, trial in marked],
                hovertemplate="trial %{x}: %{text}<br>"
                f"%{{y:.{metric.digits}f}}{metric.percent}<extra></extra>",
            )
    figure = apply_style(figure, 320, "trial", metric.heading("validation quality"))
    # Left to itself, the axis of a few trials has halves, rounded: 1, 2, 2, 3, 3.
    step = -(-len(trials) // 10)
    return figure.update_xaxes(
        showgrid=False, range=[0.5, len(trials) + 0.5], tick0=step, dtick=step
    )


def best_so_far(trials: Sequence[Record]) -> list[float | None]:
    """Return after each trial the best validation quality of the complete ones, None before one.

    Trials promoted to the full budget do not count.
    """
    best: float | None = None
    history = []
    for trial, full in zip(trials, promoted_to_full_budget(trials), strict=True):
        if trial.state == "complete" and not full:
            quality = trial.scores[-1].quality
            best = quality if best is None else max(best, quality)
        history.append(best)
    return history


def _trial_kind(trial: Record, promoted: bool) -> str:
    if promoted:
        return "at the full budget"
    if trial.state != "complete":
        return "stopped early"
    return "fixed strategy" if trial.origin in STRATEGIES else "proposed"


def layer_effects_plot(trials: Sequence[Record]) -> go.Figure:
    """Draw the mean validation quality of the trials that keep a layer minus of those without it.

    One bar a layer, from the complete trials; a layer that all or none keep has none.
    """
    metric = metric_of(trials)
    effects = [effect for effect in layer_effects(trials) if effect.difference is not None]
    differences = [effect.difference or 0.0 for effect in effects]
    bars = go.Bar(
        x=[effect.layer for effect in effects],
        y=[metric.scale * difference for difference in differences],
        width=0.62,
        marker_color=[TEAL if difference >= 0 else OCHRE for difference in differences],
        text=[metric.format_difference(difference) for difference in differences],
        textposition="none",
        customdata=[[effect.kept, effect.removed] for effect in effects],
        hovertemplate=f"layer %{{x}}: %{{text}} {metric.points}<br>"
        "%{customdata[0]} trials keep it, "
        "%{customdata[1]} remove it<extra></extra>",
    )
    title = f"{metric.points}, kept minus removed{metric.note}"
    figure = apply_style(go.Figure(bars), 300, _LAYER_AXIS, title)
    figure.update_xaxes(dtick=tick_step(len(effects)), showgrid=False)
    return figure.update_yaxes(ZERO_LINE)


def tick_step(layers: int) -> int:
    """Return the step between the numbers of an axis with so many layers."""
    return 1 if layers <= 12 else 2


def rank_layouts(trials: Sequence[Record]) -> list[tuple[Layout, float]]:
    """Return each layout of comparable trials with its mean validation quality, best first."""
    qualities: dict[Layout, list[float]] = {}
    for trial in same_budget_trials(trials):
        qualities.setdefault(trial.layout, []).append(trial.score("validation").quality)
    means = [(layout, fmean(values)) for layout, values in qualities.items()]
    return sorted(means, key=lambda pair: -pair[1])


def layout_map_plot(ranked: Sequence[tuple[Layout, float]], metric: Metric) -> go.Figure:
    """Draw layouts with their mean quality as rows of layer cells, the first on top."""
    depth = ranked[0][0].depth if ranked else 0
    cells = go.Heatmap(
        z=[layout.flags for layout, _ in ranked],
        x=list(range(depth)),
        y=[f"{layout}  {metric.format(quality)}" for layout, quality in ranked],
        zmin=0,
        zmax=1,
        colorscale=[[0, FAINT], [1, TEAL]],
        showscale=False,
        xgap=2,
        ygap=3,
        customdata=[
            ["kept" if flag else "removed" for flag in layout.flags] for layout, _ in ranked
        ],
        hovertemplate="%{y}<br>layer %{x} %{customdata}<extra></extra>",
    )
    figure = apply_style(go.Figure(cells), 70 + 18 * len(ranked), _LAYER_AXIS, "")
    figure.update_xaxes(dtick=tick_step(depth), showgrid=False, linecolor=GRID)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, dtick=1)
    return figure.update_yaxes(tickfont={"family": "ui-monospace, monospace", "size": 11})


def importances_plot(importances: Mapping[str, float]) -> go.Figure:
    """Draw each layer's importance in %, in the order of the layers."""
    names = sorted(importances, key=lambda name: (len(name), name))  # layer 2 before layer 10
    bars = go.Bar(
        x=[short_label(name.removeprefix("layer ")) for name in names],
        y=[100 * importances[name] for name in names],
        width=0.62,
        marker_color=SLATE,
        hovertemplate="layer %{x}: %{y:.1f} %<extra></extra>",
    )
    figure = apply_style(go.Figure(bars), 260, _LAYER_AXIS, "share, %")
    return figure.update_xaxes(type="category", showgrid=False, dtick=tick_step(len(importances)))
