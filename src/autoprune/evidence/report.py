"""The report: a study in Markdown, the verdict first, and its comparison as JSON."""

from collections.abc import Sequence
from typing import Any

from autoprune.evidence.comparison import Comparison, Row
from autoprune.evidence.costed import costs_section
from autoprune.evidence.costs import Costs
from autoprune.evidence.markdown import plain, written
from autoprune.evidence.record import Record
from autoprune.evidence.searched import layers_section, search_section
from autoprune.evidence.setting import Setting
from autoprune.evidence.tables import Cell, Table
from autoprune.evidence.terms import cleaning_section, limits_section, repeat_section, terms_section
from autoprune.evidence.verdict import (
    UNITS,
    against_others,
    p_text,
    points,
    recommendation,
    verdict,
)

TESTS = {
    "accuracy": "an exact paired permutation test on which rows are right",
    "macro-f1": "a paired permutation test of macro-F1 (9,999 exchanges of what both say of a row)",
}
DOTS = "● is a layer that is kept, the one nearest the embeddings first."


def markdown(
    setting: Setting,
    comparison: Comparison,
    trials: Sequence[Record],
    costs: Costs | None = None,
) -> str:
    """Write the report; `trials` are the search's records, none for `baseline`.

    `costs` are those of the study's models where somebody measured them.
    """
    title = f"# {plain(setting.model)} on {plain(setting.task)}: {setting.keep} of {setting.depth}"
    said = [verdict(comparison), recommendation(comparison)]
    parts = [
        f"{title} layers",
        "\n\n".join(plain(sentence) for sentence in said),
        "## Comparison on the test split",
        comparison_table(comparison),
        "\n".join(f"- {plain(reason)}" for reason in comparison.left_out),
        "\n".join(f"- {plain(sentence)}" for sentence in against_others(comparison)),
        plain(f"{reading(comparison)} {DOTS}"),
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
    return written(entrants_table(comparison))


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


def _cells(row: Row, comparison: Comparison) -> tuple[Cell, ...]:
    std = "" if row.test_std is None else f" ± {row.test_std * 100:.1f}"
    gap = row.difference
    held = ["reference", "", ""]
    if row.origin != comparison.reference:
        held = [
            points(gap.mean),
            f"{points(gap.low)} to {points(gap.high)}",
            p_text(gap.p_value),
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


def reading(comparison: Comparison) -> str:
    """Tell how the table is read."""
    seeds = len(comparison.seeds)
    spread = "± is the standard deviation over seeds" if seeds > 1 else "one seed has no spread"
    noise = (
        "The intervals allow for other seeds and other test rows."
        if seeds > 1
        else "With one seed the intervals allow for other test rows only, not for another training."
    )
    return (
        f"How to read it: figures are {UNITS[comparison.metric].removeprefix('points of ')} in % "
        f"unless their column says otherwise, means over {seeds} fresh seed(s); {spread}. "
        f"“test, cleaned” leaves out duplicates and rows that stand in train or validation "
        f"({comparison.test_rows} of {comparison.raw_rows} rows); “test, raw” is the whole split. "
        f"“against {comparison.reference}” is in points, same rows and same seeds; "
        f"{comparison.reference} was chosen among the fixed strategies by validation, not by test. "
        f"{noise} p is from {TESTS[comparison.metric]}, for the "
        "trained models as they are: only where it is below 0.05 and the interval leaves out 0 is "
        "one called better or worse. Each row is one test: among many, one in twenty is below "
        "0.05 by chance."
    )


def happened(comparison: Comparison) -> list[str]:
    """Tell what went otherwise than planned in the comparison's runs, a line each."""
    return [
        f"{record.origin}, seed {record.seed}: {note}"
        for record in comparison.records
        for note in record.notes
    ]


def _happened(comparison: Comparison) -> str:
    notes = [f"- {plain(note)}" for note in happened(comparison)]
    return "\n".join(["On the way:", "", *notes]) if notes else ""


def as_json(comparison: Comparison) -> list[dict[str, Any]]:
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
