"""Tables of the report on a study, as plain values: Markdown and HTML are written from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from autoprune.evaluation.comparison import Comparison, ComparisonRow, SimpleRow
from autoprune.evaluation.costs import Costs, MeasuredCost
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.records import Record
from autoprune.evaluation.statistics import MedianInterval
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import format_p
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import CleaningReport
from autoprune.training.budget import Budget, Distillation
from autoprune.training.metrics import METRICS, Metric

TableCell = str | Layout
"""Plain text, shown unchanged; or a layout, drawn as a picture."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below a header; `caption` names the content, also for screen readers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows), "a cell for each column"


@dataclass(frozen=True, slots=True)
class LayerEffect:
    """Mean validation quality of the trials that keep `layer`, and of those that remove it.

    A mean is None where there is no such trial.
    """

    layer: int
    kept: int
    kept_mean: float | None
    removed: int
    removed_mean: float | None

    @property
    def difference(self) -> float | None:
        """Kept minus removed, None where one of them is unknown."""
        if self.kept_mean is None or self.removed_mean is None:
            return None
        return self.kept_mean - self.removed_mean


def promoted_to_full_budget(trials: Sequence[Record]) -> list[bool]:
    """Return for each trial whether it resumed from a pause, to the end of its budget."""
    pauses = any(trial.budget.pause_at is not None for trial in trials)
    return [pauses and trial.budget.pause_at is None for trial in trials]


def same_budget_trials(trials: Sequence[Record]) -> list[Record]:
    """Return the complete trials of the same budget: none that were promoted."""
    pairs = zip(trials, promoted_to_full_budget(trials), strict=True)
    return [trial for trial, promoted in pairs if trial.state == "complete" and not promoted]


def metric_of(trials: Sequence[Record]) -> Metric:
    """Return the metric of a study's trials; where there are none, any."""
    return METRICS[trials[0].metric if trials else "accuracy"]


def layer_effects(trials: Sequence[Record]) -> list[LayerEffect]:
    """Return the effect of each layer over the trials of the same budget, first layer first."""
    comparable = same_budget_trials(trials)
    effects = []
    for layer in range(comparable[0].layout.depth if comparable else 0):
        kept, removed = (
            [t.score("validation").quality for t in comparable if (layer in t.layout.keep) == keeps]
            for keeps in (True, False)
        )
        kept_mean, removed_mean = (fmean(each) if each else None for each in (kept, removed))
        effects.append(LayerEffect(layer, len(kept), kept_mean, len(removed), removed_mean))
    return effects


def entrants_table(comparison: Comparison) -> Table:
    """Return the results of all entrants; the best fixed strategy is the reference.

    The console, Markdown and pages show these columns in this order.
    """
    stopped = any(row.stopped for row in comparison.rows)
    header = (
        *("origin", "layers", "layout", "test", "raw", "validation", "parameters"),
        *("difference", "95 % interval", "p"),
        *(("seeds",) if stopped else ()),
    )
    rows = [
        _entrant_cells(row, comparison) + ((seeds_cell(row),) if stopped else ())
        for row in comparison.all_rows
    ]
    return Table("Comparison on the test split", header, tuple(rows))


def seeds_cell(row: ComparisonRow | SimpleRow) -> str:
    """Return how many seeds a row has, and whether it was stopped."""
    return f"{row.seeds or ''}{', stopped' * bool(row.stopped)}"


def _entrant_cells(row: ComparisonRow | SimpleRow, comparison: Comparison) -> tuple[TableCell, ...]:
    metric, difference = METRICS[comparison.metric], ("reference", "", "")
    if row.origin != comparison.reference:
        difference = difference_cells(row.difference)
    return (
        row.origin,
        row.layout or "",
        row.description,
        *map(metric.format, (row.test_mean, row.raw_mean, row.validation_mean)),
        format_millions(row.parameters),
        *difference,
    )


def difference_cells(gap: PairedDifference) -> tuple[str, str, str]:
    """Return the mean of a difference, its 95 % interval, and p."""
    metric = METRICS[gap.metric]
    interval = metric.format_differences(gap.low, gap.high)
    return metric.format_difference(gap.mean), interval, format_p(gap.p_value)


def spread_table(comparison: Comparison) -> Table:
    """Return the spread, the interval and the cost of each entrant's runs."""
    metric = METRICS[comparison.metric]
    header = ("origin", "test", "± over seeds", "95 % interval", "macro-F1", "seconds a run")
    rows = [
        (
            row.origin,
            metric.format(row.test_mean),
            "" if row.test_std is None else metric.format_size(row.test_std),
            metric.format_interval(row.test_low, row.test_high),
            "" if row.macro_f1 is None else f"{row.macro_f1 * 100:.1f}",
            f"{row.seconds:.1f}",
        )
        for row in comparison.all_rows
    ]
    return Table("Spread and time of each", header, tuple(rows))


def format_millions(count: int) -> str:
    """Write a count of parameters, in millions with three digits unless it is small."""
    return f"{count / 1e6:.3g} M" if count >= 10_000 else f"{count:,}"


def comparison_as_json(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows as plain values for JSON: qualities in [0, 1], None for unknown.

    `difference`, `low`, `high` and `p_value` are against the best fixed strategy. The simple models
    come last; they have no layout.
    """
    return [
        {
            "origin": row.origin,
            "layout": None if row.layout is None else str(row.layout),
            "description": row.description,
            "test_mean": row.test_mean,
            "test_std": row.test_std,
            "test_low": row.test_low,
            "test_high": row.test_high,
            "test_raw_mean": row.raw_mean,
            "validation_mean": row.validation_mean,
            "macro_f1": row.macro_f1,
            "seeds": row.seeds,
            "stopped": row.stopped or None,
            "parameters": row.parameters,
            "learning_rate": row.learning_rate,
            "difference": row.difference.mean,
            "low": row.difference.low,
            "high": row.difference.high,
            "p_value": row.difference.p_value,
        }
        for row in comparison.all_rows
    ]


_STATE_ORDER = {"complete": 0, "pruned": 1, "failed": 2}


def rank_trials(trials: Sequence[Record]) -> list[Record]:
    """Return complete trials first, the best first; then the pruned ones, then the failed ones."""

    def order(trial: Record) -> tuple[int, float]:
        return _STATE_ORDER[trial.state], -trial.scores[-1].quality if trial.scores else 0.0

    return sorted(trials, key=order)


def trials_table(trials: Sequence[Record], max_rows: int | None = None) -> Table:
    """Return a row for each trial in the order of `rank_trials`, at most `max_rows` (None: all)."""
    header = ("layers", "layout", "from", "seed", "validation", "loss", "seconds", "state")
    ranked = rank_trials(trials)
    rows = tuple(map(_trial_cells, ranked, trial_states(ranked)))
    return Table("Trials", header, rows[:max_rows])


def trial_states(trials: Sequence[Record]) -> list[str]:
    """Return the state of each trial, and whether it was promoted to the full budget."""
    promoted = promoted_to_full_budget(trials)
    return [
        f"{trial.state}, full budget" if full else trial.state
        for trial, full in zip(trials, promoted, strict=True)
    ]


def _trial_cells(trial: Record, state: str) -> tuple[TableCell, ...]:
    numbers = ("", "", "")
    if trial.scores:
        score = trial.score("validation")
        numbers = (
            METRICS[trial.metric].format_number(score.quality),
            f"{score.loss:.3f}",
            f"{score.seconds:.1f}",
        )
    state = f"{state}: {trial.reason}" if trial.reason else state
    return (
        trial.layout,
        str(trial.layout),
        trial.origin,
        str(trial.seed),
        *numbers,
        "; ".join([state, *trial.notes]),
    )


def layers_table(trials: Sequence[Record]) -> Table:
    """Return the effect of each layer on validation; no row where no trial is complete."""
    metric = metric_of(trials)
    header = ("layer", "trials keeping it", "mean", "trials removing it", "mean")
    rows = tuple(_effect_cells(effect, metric) for effect in layer_effects(trials))
    return Table("Effect of each layer", (*header, f"difference{metric.note}"), rows)


def _effect_cells(effect: LayerEffect, metric: Metric) -> tuple[TableCell, ...]:
    kept, removed = (
        "" if mean is None else metric.format_number(mean)
        for mean in (effect.kept_mean, effect.removed_mean)
    )
    difference = "" if effect.difference is None else metric.format_difference(effect.difference)
    return str(effect.layer), str(effect.kept), kept, str(effect.removed), removed, difference


def cleaning_table(setting: StudyMetadata) -> Table:
    """Return how many rows each cleaning step removed, one row for each split."""
    names = [field.name for field in fields(CleaningReport)]
    labels = {
        "headers": "repeated headers",
        "empty": "without text or label",
        "leaked": "in an earlier split",
    }
    rows = [tuple(str(getattr(split, name)) for name in names) for split in setting.cleaned]
    return Table("Cleaning", tuple(labels.get(name, name) for name in names), tuple(rows))


def budgets_table(setting: StudyMetadata, runs: Sequence[Record]) -> Table:
    """Return what one candidate could spend, in the search and in the comparison.

    Distilled entrants have a budget of their own: that of the first of `runs` with a teacher.
    """
    distilled = next((run.budget for run in runs if run.budget.distillation), None)
    named = {
        "quick (search)": setting.quick,
        "full (comparison)": setting.full,
        "distilled (comparison)": distilled,
    }
    budgets = {label: budget for label, budget in named.items() if budget is not None}
    names = [
        field.name
        for field in fields(Budget)
        if any(getattr(budget, field.name) is not None for budget in budgets.values())
    ]
    rows = [
        (label, *(_budget_cell(budget, name, setting) for name in names))
        for label, budget in budgets.items()
    ]
    header = ("budget", *(name.replace("_", " ") for name in names))
    return Table("Budgets", header, tuple(rows))


def _budget_cell(budget: Budget, name: str, setting: StudyMetadata) -> str:
    value = getattr(budget, name)
    if name == "learning_rate" and budget is not setting.quick and setting.rates:
        return "chosen, see below"
    if isinstance(value, Distillation):
        return f"{value.kind}, temperature {value.temperature:g}, weight {value.weight:g}"
    return "none" if value is None else str(value)


LATENCY_COLUMN, THROUGHPUT_COLUMN = "ms for one text", "texts a second"


def costs_table(costs: Costs) -> Table:
    """Return the measured cost of each model; medians with their 95 % intervals."""
    speed = (LATENCY_COLUMN, THROUGHPUT_COLUMN, "times the full model's")
    size = ("MB of memory", "MB on disk", "parameters", "of them embeddings", "GFLOP a text")
    rows = tuple(map(_cost_cells, costs.models))
    return Table("Measured cost", ("model", "layers", *speed, *size), rows)


def _cost_cells(model: MeasuredCost) -> tuple[TableCell, ...]:
    return (
        model.name,
        model.layout,
        format_interval(model.latency, 1000, 2),
        format_interval(model.throughput, 1, 0),
        format_interval(model.gain, 1, 2),
        "" if model.peak_bytes is None else f"{model.peak_bytes / 1e6:.0f}",
        f"{model.bytes / 1e6:.1f}",
        f"{model.parameters:,}",
        f"{model.embeddings:,}",
        f"{model.flops / 1e9:.3g}",
    )


def format_interval(value: MedianInterval, scale: float, digits: int) -> str:
    """Write a median and its interval, each multiplied by `scale`.

    >>> format_interval(MedianInterval(0.0125, 0.012, 0.014), 1000, 1)
    '12.5 (12.0 to 14.0)'
    """
    median, low, high = (
        f"{number * scale:,.{digits}f}" for number in (value.median, value.low, value.high)
    )
    return f"{median} ({low} to {high})"


def repeat_table(setting: StudyMetadata, comparison: Comparison) -> Table:
    """Return what is needed beside the command to repeat the study: versions, data, device."""
    entries = {
        "model": setting.model,
        "commit": setting.commit,
        "task": setting.task,
        "fresh seeds": ", ".join(map(str, comparison.seeds)),
        "device": setting.device,
        "finished": setting.finished,
        **{f"version of {name}": text for name, text in setting.versions.items()},
        **{f"fingerprint of {name}": text for name, text in setting.fingerprints.items()},
    }
    return Table("Needed to repeat it", ("what", "value"), tuple(entries.items()))
