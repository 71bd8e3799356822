"""The search's sections: its course, the layouts tried, and which layers matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import plotly.graph_objects as go

from autoprune.evaluation.layer_effects import promoted_to_full_budget, same_budget_trials
from autoprune.evaluation.records import Record
from autoprune.evaluation.verdict import format_points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reporting.dashboard_note import layer_effects_plot
from autoprune.reporting.html.components import Part, Plot, Plots, Section, TableWithBars, Text
from autoprune.reporting.markdown_report import (
    LAYERS_HEADER,
    layers_table,
    rank_trials,
    search_summary,
    trial_states,
    trials_table,
)
from autoprune.reporting.plot_style import (
    BELOW_ABOVE,
    MUTED,
    OCHRE,
    SLATE,
    TEAL,
    apply_style,
    short_label,
)
from autoprune.reporting.tables import Table, TableCell

MIN_PAIR_TRIALS = 2  # trials in each of the four groups, else nothing is said of a pair

PAIRS_EXPLANATION = (
    "How much more the trials that keep one layer score when they keep the other layer too: "
    "(both − only the first) − (only the second − neither), mean validation quality in points. "
    f"A pair is left out unless each of these four groups holds at least {MIN_PAIR_TRIALS} complete trials. "
    "With few trials this is mostly noise: read only what stands far out."
)


@dataclass(frozen=True, slots=True)
class LayerPair:
    """Two layers, `first` the lower one, and how they go together.

    `joint` is the difference of differences in quality; `fewest` the smallest of the four groups.
    """

    first: int
    second: int
    joint: float
    fewest: int


def layer_pairs(trials: Sequence[Record]) -> list[LayerPair]:
    """Return the pairs of which comparable trials tell something, in order of their layers."""
    whole = same_budget_trials(trials)
    depth = whole[0].layout.depth if whole else 0
    return [
        pair
        for first, second in combinations(range(depth), 2)
        if (pair := _pair(first, second, whole)) is not None
    ]


def _pair(first: int, second: int, trials: Sequence[Record]) -> LayerPair | None:
    groups: dict[tuple[bool, bool], list[float]] = {}
    for trial in trials:
        kept = (first in trial.layout.keep, second in trial.layout.keep)
        groups.setdefault(kept, []).append(trial.score("validation").quality)
    fewest = min(map(len, groups.values())) if len(groups) == 4 else 0
    if fewest < MIN_PAIR_TRIALS:
        return None
    mean = {kept: fmean(qualities) for kept, qualities in groups.items()}
    joint = mean[True, True] - mean[True, False] - mean[False, True] + mean[False, False]
    return LayerPair(first, second, joint, fewest)


def pairs_table(found: Sequence[LayerPair]) -> Table:
    """Return the pairs, the one that goes together best first."""
    ranked = sorted(found, key=lambda pair: -pair.joint)
    return Table(
        "Pairs of layers",
        ("layers", "more together, points", "trials in the smallest group"),
        tuple((f"{p.first} and {p.second}", format_points(p.joint), str(p.fewest)) for p in ranked),
    )


_MARKS = [(TEAL, "circle"), (OCHRE, "diamond"), (SLATE, "square")]


def progress_figure(trials: Sequence[Record]) -> go.Figure:
    """Draw each trial's validation quality in % in order, and the best so far as a line.

    What went on to the full budget is drawn beside the line, not in it.
    """
    further = promoted_to_full_budget(trials)
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
    figure = apply_style(figure, 320, "trial", "validation quality, %")
    figure.update_xaxes(showgrid=False, range=[0.5, len(trials) + 0.5], tickformat="d")
    return figure


def pair_heatmap(found: Sequence[LayerPair]) -> go.Figure:
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
    figure = apply_style(go.Figure(cells), 380, "layer", "layer")
    each = {"tickmode": "linear", "dtick": 1 if len(layers) <= 12 else 2, "showgrid": False}
    figure.update_xaxes(**each)
    figure.update_yaxes(**each)
    return figure


def importances_plot(importances: Mapping[str, float]) -> go.Figure:
    """Draw each layer's share in the variance of the scores, in %."""
    bars = go.Bar(
        x=[short_label(name.removeprefix("layer ")) for name in importances],
        y=[100 * share for share in importances.values()],
        width=0.62,
        marker_color=SLATE,
        hovertemplate="layer %{x}: %{y:.1f} %<extra></extra>",
    )
    figure = apply_style(go.Figure(bars), 260, "layer, 0 is nearest the embeddings", "share, %")
    figure.update_xaxes(type="category", showgrid=False, dtick=1 if len(importances) <= 12 else 2)
    return figure


def _kind(trial: Record, further: bool) -> str:
    if further:
        return "at the full budget"
    if trial.state != "complete":
        return "stopped early"
    return "fixed strategy" if trial.origin in STRATEGIES else "proposed"


IMPORTANCES = (
    "Optuna's importances (fANOVA) say how much of the scores' variance each layer's flag "
    "explains, alone and with others; not whether it is better kept or removed."
)


def html_search_section(trials: Sequence[Record], hint: str, id: str) -> list[Section]:
    """Return the course of the search, and every layout tried, the best first; none of none."""
    if not trials:
        return []
    table = trials_table(trials)
    parts = (
        Text(search_summary(trials, hint)),
        Plot(
            f"{id}-course", "Course of the search", progress_figure(trials), _course_table(trials)
        ),
        TableWithBars(table, table.header.index("validation"), _bars(rank_trials(trials))),
    )
    return [Section(f"{id}-search", "The search", parts)]


def html_layers_section(
    trials: Sequence[Record], id: str, importances: Mapping[str, float]
) -> list[Section]:
    """Return the effects of single layers and of pairs; no section where no trial is complete."""
    single = layers_table(trials)
    if not single.rows:
        return []
    plots = [Plot(f"{id}-layers", "Effect of each layer", layer_effects_plot(trials), single)]
    notes: list[Part] = []
    found = layer_pairs(trials)
    if found:
        plots.append(
            Plot(f"{id}-pairs", "Pairs of layers", pair_heatmap(found), pairs_table(found))
        )
        notes.append(Text(f"Pairs: {PAIRS_EXPLANATION}", aside=True))
    if importances:
        table = Table(
            "Importance of each layer",
            ("layer", "share, %"),
            tuple((name, f"{100 * share:.1f}") for name, share in importances.items()),
        )
        plots.append(Plot(f"{id}-importances", table.caption, importances_plot(importances), table))
        notes.append(Text(IMPORTANCES, aside=True))
    parts = (Text(LAYERS_HEADER), Plots(tuple(plots)), *notes)
    return [Section(f"{id}-which-layers", "Which layers matter", parts)]


def _course_table(trials: Sequence[Record]) -> Table:
    rows: list[tuple[TableCell, ...]] = []
    best, told = (
        0.0,
        zip(trials, promoted_to_full_budget(trials), trial_states(trials), strict=True),
    )
    for number, (trial, further, state) in enumerate(told, start=1):
        score = f"{100 * trial.scores[-1].quality:.1f}" if trial.scores else ""
        if trial.state == "complete" and not further:
            best = max(best, trial.scores[-1].quality)
        so_far = f"{100 * best:.1f}" if best else ""
        rows.append((str(number), str(trial.layout), score, so_far, state))
    header = ("trial", "layout", "validation, %", "best so far, %", "state")
    return Table("Course of the search", header, tuple(rows))


def _bars(trials: Sequence[Record]) -> tuple[float | None, ...]:
    """Return each score's place between the lowest and the highest, None where there is none."""
    scores = [trial.scores[-1].quality for trial in trials if trial.scores]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    room = (high - low) or 1.0
    return tuple(
        0.06 + 0.94 * (trial.scores[-1].quality - low) / room if trial.scores else None
        for trial in trials
    )
