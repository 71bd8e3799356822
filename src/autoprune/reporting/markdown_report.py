"""The report: a study in Markdown, the verdict first, and its comparison as JSON."""

from collections.abc import Sequence
from typing import Any

from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.layer_effects import LayerEffect, layer_effects, promoted_to_full_budget
from autoprune.evaluation.permutation_test import PERMUTATIONS
from autoprune.evaluation.records import Record, count_repeated
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import (
    against_others,
    comparison_verdict,
    format_p,
    format_points,
    recommendation,
)
from autoprune.reporting.sections import (
    cleaning_section,
    costs_section,
    limits_section,
    repeat_section,
    terms_section,
)
from autoprune.reporting.tables import Table, TableCell, escape_markdown, plain_cell
from autoprune.training.metrics import METRICS

LAYERS_HEADER = (
    "Mean validation quality of the complete trials that keep a layer, beside those that remove "
    "it. The search chose these layouts, they are no even sample: read it as a hint."
)

MAX_TRIALS_SHOWN = 100  # rows of the trials table; the records file has them all

_RANKS = {"complete": 0, "pruned": 1, "failed": 2}


def search_section(trials: Sequence[Record], hint: str) -> str:
    """Return the trials, complete ones first, the best first; failed ones with the reason.

    `hint` is what became known of the cheap score that informed the search, or empty.
    """
    rest = len(trials) - MAX_TRIALS_SHOWN
    parts = [
        "## The search",
        escape_markdown(search_summary(trials, hint)),
        plain_cell(trials_table(trials, MAX_TRIALS_SHOWN)),
    ]
    return "\n\n".join([*parts, f"{rest} more are in the records."] if rest > 0 else parts)


def search_summary(trials: Sequence[Record], hint: str) -> str:
    """Say how many trials there were, and how far to trust their scores."""
    layouts, further = len({trial.layout for trial in trials}), sum(promoted_to_full_budget(trials))
    on = f" {further} of them went on from a pause to the full budget." if further else ""
    quick = "Otherwise scores" if further else "Scores"
    return (
        f"{len(trials)} trials of {layouts} layouts, {count_repeated(trials)} measured twice.{on} "
        f"{quick} are on validation with the quick budget and one seed a trial: their order is "
        f"noisy, the comparison above is what counts.{hint and f' Cheap score {hint}.'}"
    )


def trials_table(trials: Sequence[Record], shown: int | None = None) -> Table:
    """Return the first `shown` trials (None: all), complete ones first, the best first."""
    header = ("layers", "layout", "from", "seed", "validation", "loss", "seconds", "state")
    order = rank_trials(trials)
    rows = tuple(map(_trial_cells, order, trial_states(order)))
    return Table("Trials", header, rows[:shown])


def trial_states(trials: Sequence[Record]) -> list[str]:
    """Say of each trial how it ended."""
    both = zip(trials, promoted_to_full_budget(trials), strict=True)
    return [f"{trial.state}, full budget" if on else trial.state for trial, on in both]


def rank_trials(trials: Sequence[Record]) -> list[Record]:
    """Return complete trials first, the best first, then those stopped early, then failed ones."""
    return sorted(trials, key=lambda trial: (_RANKS[trial.state], -_quality(trial)))


def layers_section(trials: Sequence[Record]) -> str:
    """Return the difference each layer goes with over the complete trials."""
    found = layers_table(trials)
    if not found.rows:
        return ""
    return "\n\n".join(
        ["## Which layers matter", escape_markdown(LAYERS_HEADER), plain_cell(found)]
    )


def layers_table(trials: Sequence[Record]) -> Table:
    """Return the effect of each layer; no row where no trial is complete."""
    header = ("layer", "trials keeping it", "mean", "trials removing it", "mean", "difference")
    return Table("Effect of each layer", header, tuple(map(_effect, layer_effects(trials))))


def _quality(trial: Record) -> float:
    return trial.scores[-1].quality if trial.scores else 0.0


def _trial_cells(trial: Record, state: str) -> tuple[TableCell, ...]:
    figures = ["", "", ""]
    if trial.scores:
        score = trial.score("validation")
        figures = [f"{score.quality * 100:.1f}", f"{score.loss:.3f}", f"{score.seconds:.1f}"]
    state = f"{state}: {trial.reason}" if trial.reason else state
    return (
        trial.layout,
        str(trial.layout),
        trial.origin,
        str(trial.seed),
        *figures,
        "; ".join([state, *trial.notes]),
    )


def _effect(effect: LayerEffect) -> tuple[TableCell, ...]:
    def percent(mean: float | None) -> str:
        return "" if mean is None else f"{mean * 100:.1f}"

    return (
        str(effect.layer),
        str(effect.kept),
        percent(effect.kept_mean),
        str(effect.removed),
        percent(effect.removed_mean),
        "" if effect.difference is None else format_points(effect.difference),
    )


DOTS_EXPLANATION = "● is a layer that is kept, the one nearest the embeddings first."


def markdown_report(
    setting: StudyMetadata,
    comparison: Comparison,
    trials: Sequence[Record],
    costs: Costs | None = None,
) -> str:
    """Write the report; `trials` are the search's records, none for `baseline`.

    `costs` are those of the study's models where somebody measured them.
    """
    title = f"# {escape_markdown(setting.model)} on {escape_markdown(setting.task)}: {setting.keep} of {setting.depth}"
    said = [comparison_verdict(comparison), recommendation(comparison)]
    parts = [
        f"{title} layers",
        "\n\n".join(escape_markdown(sentence) for sentence in said),
        "## Comparison on the test split",
        comparison_table(comparison),
        "\n".join(f"- {escape_markdown(reason)}" for reason in comparison.left_out),
        "\n".join(f"- {escape_markdown(sentence)}" for sentence in against_others(comparison)),
        escape_markdown(f"{how_to_read(comparison)} {DOTS_EXPLANATION}"),
        _happened(comparison),
        *([search_section(trials, setting.hint), layers_section(trials)] if trials else []),
        cleaning_section(setting),
        terms_section(setting, comparison, trials),
        costs_section(costs),
        repeat_section(setting, comparison),
        limits_section(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison_table(comparison: Comparison) -> str:
    """Return the table of all entrants; the best fixed strategy is the reference."""
    return plain_cell(entrants_table(comparison))


def entrants_table(comparison: Comparison) -> Table:
    """Return the figures of all entrants as plain values."""
    header = (
        "origin",
        "layers",
        "layout",
        "test, cleaned",
        "95 % interval",
        "test, raw",
        "validation",
        "macro-F1",
        "parameters",
        "seconds a run",
        f"against {comparison.reference}",
        "95 % interval",
        "p",
    )
    rows = tuple(_cells(row, comparison) for row in comparison.rows)
    return Table("Comparison on the test split", header, rows)


def _cells(row: ComparisonRow, comparison: Comparison) -> tuple[TableCell, ...]:
    std = "" if row.test_std is None else f" ± {row.test_std * 100:.1f}"
    gap = row.difference
    held = ["reference", "", ""]
    if row.origin != comparison.reference:
        held = [
            format_points(gap.mean),
            f"{format_points(gap.low)} to {format_points(gap.high)}",
            format_p(gap.p_value),
        ]
    return (
        row.origin,
        row.layout,
        str(row.layout),
        f"{row.test_mean * 100:.1f}{std}",
        f"{row.test_low * 100:.1f} to {row.test_high * 100:.1f}",
        f"{row.raw_mean * 100:.1f}",
        f"{row.validation_mean * 100:.1f}",
        f"{row.macro_f1 * 100:.1f}",
        f"{row.parameters:,}",
        f"{row.seconds:.1f}",
        *held,
    )


def how_to_read(comparison: Comparison) -> str:
    """Tell how the table is read."""
    seeds = len(comparison.seeds)
    spread = "± is the standard deviation over seeds" if seeds > 1 else "one seed has no spread"
    noise = (
        "The intervals allow for other seeds and other test rows."
        if seeds > 1
        else "With one seed the intervals allow for other test rows only, not for another training."
    )
    return (
        f"How to read it: figures are {METRICS[comparison.metric].unit.removeprefix('points of ')} in % "
        f"unless their column says otherwise, means over {seeds} fresh seed(s); {spread}. "
        f"“test, cleaned” leaves out duplicates and rows that stand in train or validation "
        f"({comparison.test_rows} of {comparison.raw_rows} rows); “test, raw” is the whole split. "
        f"“against {comparison.reference}” is in points, same rows and same seeds; "
        f"{comparison.reference} was chosen among the fixed strategies by validation, not by test. "
        f"{noise} p is from {_test_explanation(comparison.metric)}, for the "
        "trained models as they are: only where it is below 0.05 and the interval leaves out 0 is "
        "one called better or worse. Each row is one test: among many, one in twenty is below "
        "0.05 by chance."
    )


def _test_explanation(metric: str) -> str:
    if METRICS[metric].is_mean:
        return "an exact paired permutation test on which rows are right"
    name = METRICS[metric].unit.removeprefix("points of ")
    return (
        f"a paired permutation test of {name} ({PERMUTATIONS:,} exchanges of what both predict for "
        "a row)"
    )


def failures_text(comparison: Comparison) -> list[str]:
    """Tell what went otherwise than planned in the comparison's runs, a line each."""
    return [
        f"{record.origin}, seed {record.seed}: {note}"
        for record in comparison.records
        for note in record.notes
    ]


def _happened(comparison: Comparison) -> str:
    notes = [f"- {escape_markdown(note)}" for note in failures_text(comparison)]
    return "\n".join(["On the way:", "", *notes]) if notes else ""


def comparison_as_json(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows as plain values for JSON: qualities in [0, 1], None for unknown.

    `difference`, `low`, `high` and `p_value` are against the best fixed strategy.
    """
    return [
        {
            "origin": row.origin,
            "layout": str(row.layout),
            "test_mean": row.test_mean,
            "test_std": row.test_std,
            "test_low": row.test_low,
            "test_high": row.test_high,
            "test_raw_mean": row.raw_mean,
            "validation_mean": row.validation_mean,
            "macro_f1": row.macro_f1,
            "seeds": row.seeds,
            "parameters": row.parameters,
            "learning_rate": row.learning_rate,
            "difference": row.difference.mean,
            "low": row.difference.low,
            "high": row.difference.high,
            "p_value": row.difference.p_value,
        }
        for row in comparison.rows
    ]
