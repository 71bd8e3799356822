"""What a study shows in Optuna's dashboard: a note in Markdown, and two plots."""

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.layer_effects import layer_effects, same_budget_trials
from autoprune.evaluation.records import Record
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import comparison_verdict, format_points, recommendation
from autoprune.layouts.layout import Layout
from autoprune.reporting.plot_style import FAINT, GRID, MUTED, OCHRE, TEAL, apply_style
from autoprune.reporting.tables import Table, TableCell, code_block, escape_markdown, plain_cell
from autoprune.training.budget import Budget


def layer_effects_plot(trials: Sequence[Record]) -> go.Figure:
    """Draw the mean validation quality of the trials that keep a layer minus of those without it.

    One bar a layer, in points, from the complete trials; a layer that all or none keep has none.
    """
    known = [effect for effect in layer_effects(trials) if effect.difference is not None]
    gaps = [100 * (effect.difference or 0.0) for effect in known]
    bars = go.Bar(
        x=[effect.layer for effect in known],
        y=gaps,
        width=0.62,
        marker_color=[TEAL if gap >= 0 else OCHRE for gap in gaps],
        text=[format_points(gap / 100) for gap in gaps],
        textposition="none",
        customdata=[[effect.kept, effect.removed] for effect in known],
        hovertemplate="layer %{x}: %{text} points<br>%{customdata[0]} trials keep it, "
        "%{customdata[1]} remove it<extra></extra>",
    )
    figure = apply_style(
        go.Figure(bars),
        300,
        "layer, 0 is nearest the embeddings",
        "points, kept minus removed",
    )
    figure.update_xaxes(dtick=1 if len(known) <= 12 else 2, showgrid=False)
    figure.update_yaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1)
    return figure


def trials_plot(trials: Sequence[Record]) -> list[tuple[Layout, float]]:
    """Return each layout of comparable trials with its mean validation quality, best first."""
    runs: dict[Layout, list[float]] = {}
    for trial in same_budget_trials(trials):
        runs.setdefault(trial.layout, []).append(trial.score("validation").quality)
    means = [(layout, fmean(qualities)) for layout, qualities in runs.items()]
    return sorted(means, key=lambda one: -one[1])


def layout_map_plot(trials: Sequence[Record]) -> go.Figure:
    """Draw the layouts of the complete trials as rows of layer cells, the best score on top."""
    rows = trials_plot(trials)
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
    figure = apply_style(
        go.Figure(cells), 70 + 18 * len(rows), "layer, 0 is nearest the embeddings", ""
    )
    figure.update_xaxes(dtick=1 if depth <= 12 else 2, showgrid=False, linecolor=GRID)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, dtick=1)
    figure.update_yaxes(tickfont={"family": "ui-monospace, monospace", "size": 11})
    return figure


_SHOWN = 12  # label names in the note; the report has them all

_ROWS = 20  # layouts in the map

_HEIGHT = 440  # pixels of a card in the dashboard


def first_note(
    model: str,
    task: str,
    labels: Sequence[str],
    metric: str,
    depth: int,
    keep: int,
    quick: Budget,
    full: Budget,
) -> str:
    """Say what is studied and how, while there is no result; `model` is `name@commit`."""
    waiting = "None yet: the study is under way, or was stopped; the same command goes on with it."
    asked = _what(model, task, labels, metric, depth, keep)
    return _joined([*asked, *_how(quick, full, keep), "## Result", waiting])


def result_note(setting: StudyMetadata, comparison: Comparison, trials: int) -> str:
    """Say what was studied after `trials` trials, how, and what came out."""
    assert setting.quick is not None, "only a study that searched is in the dashboard"
    model = f"{setting.model}@{setting.commit}"
    asked = (model, setting.task, setting.labels, setting.metric, setting.depth, setting.keep)
    searched = f"{trials} trials on {setting.device}, finished {setting.finished}:"
    return _joined(
        [
            *_what(*asked),
            *_how(setting.quick, setting.full, setting.keep),
            escape_markdown(searched),
            code_block(setting.command),
            "## Result",
            escape_markdown(comparison_verdict(comparison)),
            escape_markdown(recommendation(comparison)),
            plain_cell(_figures(comparison)),
        ]
    )


def dashboard_plots(trials: Sequence[Record]) -> dict[str, go.Figure]:
    """Draw what each layer goes with, and the best of the layouts tried; the keys are short ids."""
    layouts = trials_plot(trials)
    best = {layout for layout, _ in layouts[:_ROWS]}
    count = f"best {_ROWS} of {len(layouts)}" if len(layouts) > _ROWS else f"{len(layouts)}"
    shown = [trial for trial in trials if trial.layout in best]
    return {
        "layer-effects": _titled(layer_effects_plot(trials), "Layer effects on validation"),
        "layout-map": _titled(layout_map_plot(shown), f"Layout map: {count} layouts, best on top"),
    }


def _titled(figure: go.Figure, title: str) -> go.Figure:
    """Give `figure` a title and a card's height in place, and return it."""
    heading = {"text": title, "x": 0.02, "font": {"size": 18}}
    return figure.update_layout(title=heading, height=_HEIGHT, margin_t=56)


def _what(
    model: str, task: str, labels: Sequence[str], metric: str, depth: int, keep: int
) -> list[str]:
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    names = f"{', '.join(labels[:_SHOWN])}{more}"
    question = f"Which {keep} of the {depth} layers of {model} to keep for the task {task}?"
    classes = f"The task has {len(labels)} labels ({names}), its metric is {metric}."
    return ["## What", escape_markdown(question), escape_markdown(classes)]


def _how(quick: Budget, full: Budget, keep: int) -> list[str]:
    on = "" if quick.pause_at is None else f"; those worth it go on to {quick.steps}"
    return [
        "## How",
        escape_markdown(
            f"Each trial keeps {keep} layers, is fine-tuned for {quick.ends} steps of "
            f"{quick.batch} texts, and is scored on the validation split{on}. The layout found is "
            f"then trained again on fresh seeds, for up to {full.steps} steps, and held on the "
            "test split against fixed strategies, the full model and models trained from scratch."
        ),
    ]


def _figures(comparison: Comparison) -> Table:
    header = ("origin", "layers", "test, %", "validation, %", f"against {comparison.reference}")
    rows = tuple(_cells(row, comparison.reference) for row in comparison.rows)
    return Table("Comparison on the test split", header, rows)


def _cells(row: ComparisonRow, reference: str) -> tuple[TableCell, ...]:
    gap = "reference" if row.origin == reference else format_points(row.difference.mean)
    quality = f"{row.test_mean * 100:.1f}"
    return row.origin, row.layout, quality, f"{row.validation_mean * 100:.1f}", gap


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"
