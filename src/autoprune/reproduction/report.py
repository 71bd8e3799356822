"""The claims as tables and in Markdown: verdicts first, then each cell, then every test."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.evaluation.verdict import format_p, format_points
from autoprune.reporting.tables import Table, code_block, escape_markdown, plain_cell
from autoprune.reporting.tables import TableCell as Content
from autoprune.reproduction.claims import Claim, compare_in_cells
from autoprune.reproduction.paired_tests import CellResult

PAPER = "arXiv 2404.18216, table 3"

# Per cent accuracy at full depth on the official splits, as published there.
PUBLISHED_RESULTS: dict[str, dict[str, float]] = {
    "MahaBERT": {"shc": 91.163, "lpc": 86.731, "ldc": 94.706},
    "MuRIL": {"shc": 90.112, "lpc": 86.582, "ldc": 93.020},
    "IndicBERT": {"shc": 89.388, "lpc": 85.222, "ldc": 92.627},
}


@dataclass(frozen=True, slots=True)
class ReproductionReport:
    """What a plan came to: its finished `cells` and the `claims` tested on them.

    `missing` names the cells that are not finished; `terms` say how the figures were made, a
    sentence each; `command` repeats them.
    """

    plan: str
    cells: tuple[CellResult, ...]
    claims: tuple[Claim, ...]
    missing: tuple[str, ...]
    terms: tuple[str, ...]
    command: str


def claims_table(claims: Sequence[Claim]) -> Table:
    """Return a row for each claim: the effect over all cells and the verdict."""
    header = ("claim", "statement", "mean of", "points", "95 % interval", "p", "verdict")
    return Table("The claims", header, tuple(_claim(claim) for claim in claims))


def _claim(claim: Claim) -> tuple[str, ...]:
    effect = claim.effect
    figures = ("", "", "")
    if effect is not None:
        figures = (
            format_points(effect.mean),
            f"{format_points(effect.low)} to {format_points(effect.high)}",
            format_p(effect.p_value),
        )
    return (claim.letter, claim.statement, claim.effect_of, *figures, claim.verdict)


def verdicts_table(cells: Sequence[CellResult], claims: Sequence[Claim]) -> Table:
    """Return the verdict of each cell on each claim."""
    header = ("cell", *(claim.letter for claim in claims))
    rows = tuple((cell.name, *(claim.of_cell(cell.name) for claim in claims)) for cell in cells)
    return Table("What each cell says", header, rows)


def layouts_table(cells: Sequence[CellResult]) -> Table:
    """Return what each cell recommends, and the quality of those it is held against."""
    header = ("cell", "recommended", "layers", "test", "full", "best fixed", "rival", "scratch")
    return Table("What each cell recommends", header, tuple(_layout(cell) for cell in cells))


def _layout(cell: CellResult) -> tuple[Content, ...]:
    row = cell.rows[cell.recommended]
    rivals = [_quality(cell, name) for name in cell.rivals]
    return (
        cell.name,
        row.origin,
        row.layout,
        _quality(cell, row.origin),
        _quality(cell, "full"),
        f"{cell.reference} {_quality(cell, cell.reference)}",
        ", ".join(rivals),
        _quality(cell, "scratch"),
    )


def _quality(cell: CellResult, origin: str) -> str:
    return f"{100 * cell.rows[origin].test_mean:.1f}" if origin in cell.rows else ""


def scores_table(cells: Sequence[CellResult]) -> Table:
    """Return every entrant of every cell: depth, parameters, cleaned and raw test quality."""
    header = (
        "cell",
        "origin",
        "layout",
        "layers",
        "parameters",
        "test, cleaned",
        "95 % interval",
        "test, raw",
        "validation",
        "peak rate",
    )
    rows = tuple(
        (
            cell.name,
            row.origin,
            row.layout,
            str(len(row.layout.keep)),
            f"{row.parameters:,}",
            f"{100 * row.test_mean:.1f}",
            f"{100 * row.test_low:.1f} to {100 * row.test_high:.1f}",
            f"{100 * row.raw_mean:.1f}",
            f"{100 * row.validation_mean:.1f}",
            f"{row.learning_rate:g}",
        )
        for cell in cells
        for row in cell.rows.values()
    )
    return Table("Every entrant", header, rows)


def tests_table(claims: Sequence[Claim]) -> Table:
    """Return every test behind the claims."""
    header = ("claim", "cell", "difference of", "points", "95 % interval", "p", "Holm", "verdict")
    rows = tuple(
        (
            claim.letter,
            one.tested.cell,
            f"{one.tested.first} − {one.tested.second}",
            format_points(one.tested.difference.mean),
            f"{format_points(one.tested.difference.low)} to {format_points(one.tested.difference.high)}",
            format_p(one.tested.difference.p_value),
            format_p(one.tested.corrected),
            one.verdict,
        )
        for claim in claims
        for one in claim.findings
    )
    return Table("Every test", header, rows)


def oracle_table(cells: Sequence[CellResult]) -> Table:
    """Return the recommended layout against the fixed strategy that is the best on test."""
    header = ("cell", "recommended", "best fixed on validation", "best fixed on test", "lead")
    rows = tuple(
        (
            cell.name,
            f"{cell.recommended} {_quality(cell, cell.recommended)}",
            f"{cell.reference} {_quality(cell, cell.reference)}",
            f"{best} {_quality(cell, best)}",
            compare_in_cells(cell),
        )
        for cell in cells
        for best in [max(cell.strategies, key=lambda name: cell.rows[name].test_mean)]
    )
    return Table("Against the best fixed strategy on test", header, rows)


def published_table() -> Table:
    """Return others' scores of the full models."""
    tasks = list(dict.fromkeys(task for scores in PUBLISHED_RESULTS.values() for task in scores))
    rows = tuple(
        (model, *(f"{scores[task]:.3f}" for task in tasks))
        for model, scores in PUBLISHED_RESULTS.items()
    )
    return Table("Published, not ours", ("model", *tasks), rows)


ORACLE_EXPLANATION = (
    "The best fixed strategy on test is known only afterwards, and picked by the very scores it is "
    "held against: nobody could have chosen it. It is shown as a bound, no claim rests on it. The "
    "last column is how far the best fixed strategy on test is ahead of the next one."
)

SIZES_EXPLANATION = (
    "“scratch” has as many layers as the pruned model and random weights, and the same parameters. "
    "A rival was pre-trained from scratch by its authors: where its parameters differ, equal depth "
    "is not equal size, so both stand beside its score."
)


def published_note() -> str:
    """Say whose the published scores are."""
    return (
        f"These are others' figures, not ours ({PAPER}): per cent accuracy of full models on the "
        "official splits, duplicates and leaked rows included. No claim is tested with them."
    )


def reproduction_title(found: ReproductionReport) -> str:
    """Return the report's title."""
    return f"The claims, tested by plan {found.plan}"


def claims_summary(found: ReproductionReport) -> str:
    """Count the verdicts in one line."""
    verdicts = [claim.verdict for claim in found.claims]
    counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    whole = len(found.cells) + len(found.missing)
    return f"{len(found.cells)} of {whole} cells finished. Claims: {counted}."


def reproduction_markdown(found: ReproductionReport) -> str:
    """Write the report of a plan."""
    missing = f"Not finished: {'; '.join(found.missing)}." if found.missing else ""
    parts = [
        f"# {escape_markdown(reproduction_title(found))}",
        escape_markdown(claims_summary(found)),
        escape_markdown(missing),
        plain_cell(claims_table(found.claims)),
        "\n".join(f"- {escape_markdown(claim_text(claim))}" for claim in found.claims),
        "## Each cell",
        plain_cell(verdicts_table(found.cells, found.claims)),
        plain_cell(layouts_table(found.cells)),
        "## Every entrant",
        plain_cell(scores_table(found.cells)),
        escape_markdown(SIZES_EXPLANATION),
        "## How each claim is tested",
        "\n".join(f"- {escape_markdown(f'{one.letter}: {one.test}.')}" for one in found.claims),
        plain_cell(tests_table(found.claims)),
        "## Against the best fixed strategy on test",
        plain_cell(oracle_table(found.cells)),
        escape_markdown(ORACLE_EXPLANATION),
        "## Published scores",
        plain_cell(published_table()),
        escape_markdown(published_note()),
        "## Terms",
        "\n".join(f"- {escape_markdown(term)}" for term in found.terms),
        code_block(found.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def claim_text(claim: Claim) -> str:
    """Say a claim's verdict and why, in a sentence."""
    return f"({claim.letter}) {claim.statement}: {claim.verdict}; {claim.reason}."
