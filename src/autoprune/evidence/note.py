"""What a study shows in Optuna's dashboard: a note in Markdown, and two plots."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.evidence.comparison import Comparison, Row
from autoprune.evidence.figures import layer_effects, layout_map, tried
from autoprune.evidence.markdown import fenced, plain, written
from autoprune.evidence.record import Record
from autoprune.evidence.setting import Setting
from autoprune.evidence.tables import Cell, Table
from autoprune.evidence.verdict import points, recommendation, verdict
from autoprune.scoring.budget import Budget

_SHOWN = 12  # label names in the note; the report has them all
_ROWS = 20  # layouts in the map
_HEIGHT = 440  # pixels of a card in the dashboard


def opening(
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


def note(setting: Setting, comparison: Comparison, trials: int) -> str:
    """Say what was studied after `trials` trials, how, and what came out."""
    assert setting.quick is not None, "only a study that searched is in the dashboard"
    model = f"{setting.model}@{setting.commit}"
    asked = (model, setting.task, setting.labels, setting.metric, setting.depth, setting.keep)
    searched = f"{trials} trials on {setting.device}, finished {setting.finished}:"
    return _joined(
        [
            *_what(*asked),
            *_how(setting.quick, setting.full, setting.keep),
            plain(searched),
            fenced(setting.command),
            "## Result",
            plain(verdict(comparison)),
            plain(recommendation(comparison)),
            written(_figures(comparison)),
        ]
    )


def plots(trials: Sequence[Record]) -> dict[str, go.Figure]:
    """Draw what each layer goes with, and the best of the layouts tried; the keys are short ids."""
    layouts = tried(trials)
    best = {layout for layout, _ in layouts[:_ROWS]}
    count = f"best {_ROWS} of {len(layouts)}" if len(layouts) > _ROWS else f"{len(layouts)}"
    shown = [trial for trial in trials if trial.layout in best]
    return {
        "layer-effects": _titled(layer_effects(trials), "Layer effects on validation"),
        "layout-map": _titled(layout_map(shown), f"Layout map: {count} layouts, best on top"),
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
    return ["## What", plain(question), plain(classes)]


def _how(quick: Budget, full: Budget, keep: int) -> list[str]:
    on = "" if quick.until is None else f"; those worth it go on to {quick.steps}"
    return [
        "## How",
        plain(
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


def _cells(row: Row, reference: str) -> tuple[Cell, ...]:
    gap = "reference" if row.origin == reference else points(row.difference.mean)
    quality = f"{row.test_mean * 100:.1f}"
    return row.origin, row.layout, quality, f"{row.validation_mean * 100:.1f}", gap


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"
