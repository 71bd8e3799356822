"""The claims as tables and in Markdown: verdicts first, then each cell, then every test."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.evaluation.verdict import p_text, points
from autoprune.reporting.tables import Cell as Content
from autoprune.reporting.tables import Table, fenced, plain, written
from autoprune.reproduction.claims import Claim, lead
from autoprune.reproduction.paired_tests import Cell

SOURCE = "arXiv 2404.18216, table 3"

# Per cent accuracy at full depth on the official splits, as published there.
PUBLISHED: dict[str, dict[str, float]] = {
    "MahaBERT": {"shc": 91.163, "lpc": 86.731, "ldc": 94.706},
    "MuRIL": {"shc": 90.112, "lpc": 86.582, "ldc": 93.020},
    "IndicBERT": {"shc": 89.388, "lpc": 85.222, "ldc": 92.627},
}


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What a plan came to: its finished `cells` and the `claims` tested on them.

    `missing` names the cells that are not finished; `terms` say how the figures were made, a
    sentence each; `command` repeats them.
    """

    plan: str
    cells: tuple[Cell, ...]
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
            points(effect.mean),
            f"{points(effect.low)} to {points(effect.high)}",
            p_text(effect.p_value),
        )
    return (claim.letter, claim.statement, claim.effect_of, *figures, claim.verdict)


def verdicts_table(cells: Sequence[Cell], claims: Sequence[Claim]) -> Table:
    """Return the verdict of each cell on each claim."""
    header = ("cell", *(claim.letter for claim in claims))
    rows = tuple((cell.name, *(claim.of_cell(cell.name) for claim in claims)) for cell in cells)
    return Table("What each cell says", header, rows)


def layouts_table(cells: Sequence[Cell]) -> Table:
    """Return what each cell recommends, and the quality of those it is held against."""
    header = ("cell", "recommended", "layers", "test", "full", "best fixed", "rival", "scratch")
    return Table("What each cell recommends", header, tuple(_layout(cell) for cell in cells))


def _layout(cell: Cell) -> tuple[Content, ...]:
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


def _quality(cell: Cell, origin: str) -> str:
    return f"{100 * cell.rows[origin].test_mean:.1f}" if origin in cell.rows else ""


def scores_table(cells: Sequence[Cell]) -> Table:
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
            points(one.tested.difference.mean),
            f"{points(one.tested.difference.low)} to {points(one.tested.difference.high)}",
            p_text(one.tested.difference.p_value),
            p_text(one.tested.corrected),
            one.verdict,
        )
        for claim in claims
        for one in claim.findings
    )
    return Table("Every test", header, rows)


def oracle_table(cells: Sequence[Cell]) -> Table:
    """Return the recommended layout against the fixed strategy that is the best on test."""
    header = ("cell", "recommended", "best fixed on validation", "best fixed on test", "lead")
    rows = tuple(
        (
            cell.name,
            f"{cell.recommended} {_quality(cell, cell.recommended)}",
            f"{cell.reference} {_quality(cell, cell.reference)}",
            f"{best} {_quality(cell, best)}",
            lead(cell),
        )
        for cell in cells
        for best in [max(cell.strategies, key=lambda name: cell.rows[name].test_mean)]
    )
    return Table("Against the best fixed strategy on test", header, rows)


def published_table() -> Table:
    """Return others' scores of the full models."""
    tasks = list(dict.fromkeys(task for scores in PUBLISHED.values() for task in scores))
    rows = tuple(
        (model, *(f"{scores[task]:.3f}" for task in tasks)) for model, scores in PUBLISHED.items()
    )
    return Table("Published, not ours", ("model", *tasks), rows)


ORACLE = (
    "The best fixed strategy on test is known only afterwards, and picked by the very scores it is "
    "held against: nobody could have chosen it. It is shown as a bound, no claim rests on it. The "
    "last column is how far the best fixed strategy on test is ahead of the next one."
)

SIZES = (
    "“scratch” has as many layers as the pruned model and random weights, and the same parameters. "
    "A rival was pre-trained from scratch by its authors: where its parameters differ, equal depth "
    "is not equal size, so both stand beside its score."
)


def published_note() -> str:
    """Say whose the published scores are."""
    return (
        f"These are others' figures, not ours ({SOURCE}): per cent accuracy of full models on the "
        "official splits, duplicates and leaked rows included. No claim is tested with them."
    )


def title(found: Reproduced) -> str:
    """Return the report's title."""
    return f"The claims, tested by plan {found.plan}"


def summary(found: Reproduced) -> str:
    """Count the verdicts in one line."""
    verdicts = [claim.verdict for claim in found.claims]
    counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    whole = len(found.cells) + len(found.missing)
    return f"{len(found.cells)} of {whole} cells finished. Claims: {counted}."


def markdown(found: Reproduced) -> str:
    """Write the report of a plan."""
    missing = f"Not finished: {'; '.join(found.missing)}." if found.missing else ""
    parts = [
        f"# {plain(title(found))}",
        plain(summary(found)),
        plain(missing),
        written(claims_table(found.claims)),
        "\n".join(f"- {plain(said(claim))}" for claim in found.claims),
        "## Each cell",
        written(verdicts_table(found.cells, found.claims)),
        written(layouts_table(found.cells)),
        "## Every entrant",
        written(scores_table(found.cells)),
        plain(SIZES),
        "## How each claim is tested",
        "\n".join(f"- {plain(f'{one.letter}: {one.test}.')}" for one in found.claims),
        written(tests_table(found.claims)),
        "## Against the best fixed strategy on test",
        written(oracle_table(found.cells)),
        plain(ORACLE),
        "## Published scores",
        written(published_table()),
        plain(published_note()),
        "## Terms",
        "\n".join(f"- {plain(term)}" for term in found.terms),
        fenced(found.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def said(claim: Claim) -> str:
    """Say a claim's verdict and why, in a sentence."""
    return f"({claim.letter}) {claim.statement}: {claim.verdict}; {claim.reason}."
