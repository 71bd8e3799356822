"""Plots of the search with their tables: progress, layer effects, pairs of layers, importances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import plotly.graph_objects as go

from autoprune.evaluation.records import Record
from autoprune.reporting.html.components import Plot
from autoprune.reporting.plot_style import DIVERGING_SCALE, MUTED, apply_style
from autoprune.reporting.search_plots import (
    best_so_far,
    importances_plot,
    layer_effects_plot,
    progress_plot,
    tick_step,
)
from autoprune.reporting.sections import Text
from autoprune.reporting.tables import (
    Table,
    layers_table,
    metric_of,
    same_budget_trials,
    trial_states,
)
from autoprune.training.metrics import Metric

MIN_PAIR_TRIALS = 2  # trials in each of the four groups; a pair with fewer is left out

PAIRS_EXPLANATION = (
    "Pairs: how much more the trials that keep one layer score when they keep the other layer "
    "too: (both − only the first) − (only the second − neither), mean validation quality in "
    "{points}. A pair is left out unless each of these four groups has at least "
    f"{MIN_PAIR_TRIALS} complete trials. With few trials this is mostly noise: look only at "
    "values far from the others."
)

IMPORTANCES_EXPLANATION = (
    "Optuna's importances (fANOVA) say how much of the variance of the scores each layer "
    "explains, alone and together with others; not whether it is better kept or removed. "
    "autoprune dashboard shows the same; Optuna's default, PED-ANOVA, compares only the best tenth "
    "of the trials with all, and is no guide before some 50 trials."
)


def search_plots(trials: Sequence[Record]) -> list[Plot]:
    """Return the plot of the search's progress."""
    metric = metric_of(trials)
    rows = tuple(
        (
            str(number),
            str(trial.layout),
            metric.format_number(trial.scores[-1].quality) if trial.scores else "",
            "" if best is None else metric.format_number(best),
            state,
        )
        for number, (trial, best, state) in enumerate(
            zip(trials, best_so_far(trials), trial_states(trials), strict=True), start=1
        )
    )
    scores = map(metric.heading, ("validation", "best so far"))
    header = ("trial", "layout", *scores, "state")
    table = Table("Progress of the search", header, rows)
    return [Plot("progress", table.caption, progress_plot(trials), table)]


def layer_plots(
    trials: Sequence[Record], importances: Mapping[str, float]
) -> tuple[list[Plot], list[Text]]:
    """Return the plots of single layers, of pairs and of importances, and what explains them.

    `importances` has the share of each layer, in [0, 1]; empty where it is not known.
    """
    metric, effects = metric_of(trials), layers_table(trials)
    plots = [Plot("layer-effects", effects.caption, layer_effects_plot(trials), effects)]
    notes = []
    pairs = layer_pairs(trials)
    if pairs:
        table = pairs_table(pairs, metric)
        plots.append(Plot("pairs", table.caption, pairs_plot(pairs, metric), table))
        notes.append(
            Text(PAIRS_EXPLANATION.format(points=f"{metric.points}{metric.note}"), aside=True)
        )
    if importances:
        rows = tuple((name, f"{100 * share:.1f}") for name, share in importances.items())
        table = Table("Importance of each layer", ("layer", "share, %"), rows)
        plots.append(Plot("importances", table.caption, importances_plot(importances), table))
        notes.append(Text(IMPORTANCES_EXPLANATION, aside=True))
    return plots, notes


@dataclass(frozen=True, slots=True)
class LayerPair:
    """Two layers, `first` the lower one, and their interaction.

    `interaction` is the difference of differences in quality; `fewest` the number of trials in the
    smallest of the four groups.
    """

    first: int
    second: int
    interaction: float
    fewest: int


def layer_pairs(trials: Sequence[Record]) -> list[LayerPair]:
    """Return the pairs with enough comparable trials, in order of their layers."""
    comparable = same_budget_trials(trials)
    depth = comparable[0].layout.depth if comparable else 0
    pairs = (_layer_pair(*layers, comparable) for layers in combinations(range(depth), 2))
    return [pair for pair in pairs if pair is not None]


def _layer_pair(first: int, second: int, trials: Sequence[Record]) -> LayerPair | None:
    groups: dict[tuple[bool, bool], list[float]] = {}
    for trial in trials:
        kept = (first in trial.layout.keep, second in trial.layout.keep)
        groups.setdefault(kept, []).append(trial.score("validation").quality)
    fewest = min(map(len, groups.values())) if len(groups) == 4 else 0
    if fewest < MIN_PAIR_TRIALS:
        return None
    mean = {kept: fmean(qualities) for kept, qualities in groups.items()}
    interaction = mean[True, True] - mean[True, False] - mean[False, True] + mean[False, False]
    return LayerPair(first, second, interaction, fewest)


def pairs_table(pairs: Sequence[LayerPair], metric: Metric) -> Table:
    """Return the pairs, the highest interaction first."""
    rows = tuple(
        (
            f"{pair.first} and {pair.second}",
            metric.format_difference(pair.interaction),
            str(pair.fewest),
        )
        for pair in sorted(pairs, key=lambda pair: -pair.interaction)
    )
    more = f"more together, {metric.points}{metric.note}"
    header = ("layers", more, "trials in the smallest group")
    return Table("Pairs of layers", header, rows)


def pairs_plot(pairs: Sequence[LayerPair], metric: Metric) -> go.Figure:
    """Draw the pairs as a grid: teal where both layers together give more, ochre where less."""
    points = {(pair.first, pair.second): metric.scale * pair.interaction for pair in pairs}
    layers = range(max(pair.second for pair in pairs) + 1)
    largest = max(map(abs, points.values())) or 1.0
    cells = go.Heatmap(
        x=list(layers[:-1]),
        y=list(layers[1:]),
        z=[[points.get((x, y)) for x in layers[:-1]] for y in layers[1:]],
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING_SCALE,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        hovertemplate="layers %{x} and %{y}: "
        f"%{{z:+.{metric.digits}f}} {metric.points}<extra></extra>",
        colorbar={
            "thickness": 8,
            "outlinewidth": 0,
            "len": 0.9,
            "title": {"text": metric.points, "font": {"size": 12}},
            "tickfont": {"color": MUTED, "size": 12},
        },
    )
    ticks = {"tickmode": "linear", "dtick": tick_step(len(layers)), "showgrid": False}
    figure = apply_style(go.Figure(cells), 380, "layer", "layer")
    return figure.update_xaxes(ticks).update_yaxes(ticks)
