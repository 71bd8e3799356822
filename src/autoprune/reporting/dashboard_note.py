"""Dashboard note: what a study shows in Optuna's dashboard, a note in Markdown and two plots."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from autoprune.errors import format_count
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.records import Record
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    table_to_markdown,
    warning_paragraphs,
)
from autoprune.reporting.search_plots import layer_effects_plot, layout_map_plot, rank_layouts
from autoprune.reporting.tables import Table, entrants_table, metric_of
from autoprune.training.budget import Budget

MAX_LABELS = 12  # label names in the note; the report has them all

MAX_LAYOUTS = 20  # layouts in the map

CARD_HEIGHT = 440  # pixels of a card in the dashboard


@dataclass(frozen=True, slots=True)
class StudyDescription:
    """What is studied, and how; `model` is `name@commit`, `labels` are the label names."""

    model: str
    task: str
    labels: Sequence[str]
    metric: str
    depth: int
    keep: int
    quick: Budget
    full: Budget


def first_note(study: StudyDescription) -> str:
    """Say what is studied and how, while there is no result."""
    waiting = "None yet: the study is running, or was stopped. The same command continues it."
    return _join([*_describe(study), "## Result", waiting])


def result_note(setting: StudyMetadata, comparison: Comparison, trials: Sequence[Record]) -> str:
    """Say what was studied, how, in which `trials`, and what came out."""
    assert setting.quick is not None, "only a study that searched is in the dashboard"
    study = StudyDescription(
        model=f"{setting.model}@{setting.commit}",
        task=setting.task,
        labels=setting.labels,
        metric=setting.metric,
        depth=setting.depth,
        keep=setting.keep,
        quick=setting.quick,
        full=setting.full,
    )
    run = f"{format_count(len(trials), 'trial')} on {setting.device}, finished {setting.finished}:"
    blocks = [*_describe(study), escape_markdown(run), code_block(setting.command), "## Result"]
    verdict = map(escape_markdown, (comparison_verdict(comparison), recommendation(comparison)))
    warnings = warning_paragraphs(result_warnings(setting, comparison, trials))
    return _join([*blocks, *verdict, *warnings, table_to_markdown(_short_table(comparison))])


def dashboard_plots(trials: Sequence[Record]) -> dict[str, go.Figure]:
    """Draw the effect of each layer and the best layouts tried; the keys are short ids."""
    layouts = rank_layouts(trials)
    shown = f"best {MAX_LAYOUTS} of " if len(layouts) > MAX_LAYOUTS else ""
    title = f"Layout map: {shown}{format_count(len(layouts), 'layout')}, best on top"
    return {
        "layer-effects": _as_card(layer_effects_plot(trials), "Layer effects on validation"),
        "layout-map": _as_card(layout_map_plot(layouts[:MAX_LAYOUTS], metric_of(trials)), title),
    }


def _as_card(figure: go.Figure, title: str) -> go.Figure:
    """Give `figure` a title and a card's height in place, and return it."""
    heading = {"text": title, "x": 0.02, "font": {"size": 18}}
    return figure.update_layout(title=heading, height=CARD_HEIGHT, margin_t=56)


def _describe(study: StudyDescription) -> list[str]:
    labels, quick, keep = study.labels, study.quick, study.keep
    more = f" and {len(labels) - MAX_LABELS} more" if len(labels) > MAX_LABELS else ""
    names = f"{', '.join(labels[:MAX_LABELS])}{more}"
    resumed = "" if quick.pause_at is None else f"; the best are trained on to {quick.steps}"
    what = (
        f"Which {keep} of the {study.depth} layers of {study.model} should be kept for the task "
        f"{study.task}?"
    )
    count = format_count(len(labels), "label")
    task = f"The task has {count} ({names}), its metric is {study.metric}."
    how = (
        f"Each trial keeps {format_count(keep, 'layer')}, is fine-tuned for "
        f"{format_count(quick.ends, 'step')} of {format_count(quick.batch, 'text')}, and is "
        f"scored on the validation split{resumed}. The layout found is then trained again on "
        f"fresh seeds, for up to {format_count(study.full.steps, 'step')}, and compared on the "
        "test split with fixed strategies, the full model and models trained from scratch."
    )
    return ["## What", *map(escape_markdown, (what, task)), "## How", escape_markdown(how)]


def _short_table(comparison: Comparison) -> Table:
    """Return the columns of the comparison that a note has room for."""
    table = entrants_table(comparison)
    names = ("origin", "layers", "test", "validation", "difference")
    columns = [table.header.index(name) for name in names]
    header, *rows = (tuple(cells[i] for i in columns) for cells in (table.header, *table.rows))
    return Table(table.caption, tuple(map(str, header)), tuple(rows))


def _join(blocks: Sequence[str]) -> str:
    return "\n\n".join(blocks) + "\n"
