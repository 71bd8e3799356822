"""Report of a plan: its claims as tables, in Markdown and as JSON values."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoprune.errors import format_count
from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.verdict import format_p
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    markdown_list,
    table_to_markdown,
)
from autoprune.reporting.tables import Table, TableCell, difference_cells, seeds_cell
from autoprune.reproduction.claims import Claim
from autoprune.reproduction.paired_tests import CellResult
from autoprune.training.metrics import METRICS, Metric

PUBLISHED_SOURCE = "arXiv 2404.18216, table 3"

# Accuracy in per cent at full depth on the official splits, as published there.
PUBLISHED_RESULTS: dict[str, dict[str, float]] = {
    "MahaBERT": {"shc": 91.163, "lpc": 86.731, "ldc": 94.706},
    "MuRIL": {"shc": 90.112, "lpc": 86.582, "ldc": 93.020},
    "IndicBERT": {"shc": 89.388, "lpc": 85.222, "ldc": 92.627},
}

PUBLISHED_NOTE = (
    f"These are others' figures, not ours ({PUBLISHED_SOURCE}): per cent accuracy of full models "
    "on the official splits, duplicates and leaked rows included. No claim is tested with them."
)

ORACLE_EXPLANATION = (
    "The best fixed strategy on test is known only afterwards, and picked by the very scores it is "
    "compared with: nobody could have chosen it. It is shown as a bound, no claim rests on it. The "
    "last column is how far the best fixed strategy on test is ahead of the next one."
)

SIZES_EXPLANATION = (
    "“scratch” has as many layers as the pruned model and random weights, and the same parameters. "
    "A rival was pre-trained from scratch by its authors: where its parameters differ, equal depth "
    "is not equal size, so both are shown beside its score."
)


@dataclass(frozen=True, slots=True)
class ReproductionReport:
    """The result of a plan: its finished `cells` and the `claims` tested on them.

    `missing` names the cells that are not finished. `terms` say how the figures were made, a
    sentence each. `command` repeats them.
    """

    plan: str
    cells: tuple[CellResult, ...]
    claims: tuple[Claim, ...]
    missing: tuple[str, ...]
    terms: tuple[str, ...]
    command: str

    @property
    def title(self) -> str:
        """The title of the report."""
        return f"The claims, tested by plan {self.plan}"

    @property
    def summary(self) -> str:
        """The number of finished cells and of claims by verdict, in one line."""
        verdicts = [claim.verdict for claim in self.claims]
        counts = ", ".join(
            f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)
        )
        total = len(self.cells) + len(self.missing)
        return f"{len(self.cells)} of {format_count(total, 'cell')} finished. Claims: {counts}."

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "plan": self.plan,
            "missing": list(self.missing),
            "claims": [_claim_to_dict(claim) for claim in self.claims],
            "cells": [
                {
                    "cell": cell.name,
                    "recommended": str(cell.rows[cell.recommended].layout),
                    "recommended_origin": cell.recommended,
                    "best_fixed": cell.reference,
                    "verdicts": {
                        claim.letter: claim.cell_verdict(cell.name) for claim in self.claims
                    },
                }
                for cell in self.cells
            ],
        }


def _claim_to_dict(claim: Claim) -> dict[str, Any]:
    fields = asdict(claim)
    results = fields.pop("results")
    findings = [result["test"] | {"verdict": result["verdict"]} for result in results]
    return fields | {"findings": findings}


def claims_table(claims: Sequence[Claim]) -> Table:
    """Return a row for each claim: the effect over all cells and the verdict."""
    metric = claims_metric(claims)
    points = f"{metric.points}{metric.note}"
    header = ("claim", "statement", "mean of", points, "95 % interval", "p", "verdict")
    rows = tuple(
        (
            claim.letter,
            claim.statement,
            claim.effect_of,
            *(difference_cells(claim.effect) if claim.effect else ("", "", "")),
            claim.verdict,
        )
        for claim in claims
    )
    return Table("The claims", header, rows)


def claims_metric(claims: Sequence[Claim]) -> Metric:
    """Return the metric of the first claim that was tested; where none was, any."""
    metrics = (claim.effect.metric for claim in claims if claim.effect)
    return METRICS[next(metrics, "accuracy")]


def verdicts_table(cells: Sequence[CellResult], claims: Sequence[Claim]) -> Table:
    """Return the verdict of each cell on each claim."""
    header = ("cell", *(claim.letter for claim in claims))
    rows = tuple(
        (cell.name, *(claim.cell_verdict(cell.name) for claim in claims)) for cell in cells
    )
    return Table("What each cell says", header, rows)


def layouts_table(cells: Sequence[CellResult]) -> Table:
    """Return what each cell recommends, and the quality of the models it is compared with."""
    header = ("cell", "recommended", "layers", "test", "full", "best fixed", "rival", "scratch")
    rows = tuple(
        (
            cell.name,
            cell.recommended,
            cell.rows[cell.recommended].layout,
            _quality(cell, cell.recommended),
            _quality(cell, "full"),
            f"{cell.reference} {_quality(cell, cell.reference)}",
            ", ".join(_quality(cell, name) for name in cell.rivals),
            _quality(cell, "scratch"),
        )
        for cell in cells
    )
    return Table("What each cell recommends", header, rows)


def _quality(cell: CellResult, origin: str) -> str:
    return cell.metric.format_number(cell.rows[origin].test_mean) if origin in cell.rows else ""


def scores_table(cells: Sequence[CellResult]) -> Table:
    """Return every entrant of every cell: depth, parameters, cleaned and raw test quality."""
    columns: dict[str, Callable[[CellResult, ComparisonRow], TableCell]] = {
        "cell": lambda cell, _: cell.name,
        "origin": lambda _, row: row.origin,
        "layout": lambda _, row: row.layout,
        "layers": lambda _, row: str(len(row.layout.keep)),
        "parameters": lambda _, row: f"{row.parameters:,}",
        "test, cleaned": lambda cell, row: cell.metric.format_number(row.test_mean),
        "95 % interval": lambda cell, row: cell.metric.format_interval(row.test_low, row.test_high),
        "test, raw": lambda cell, row: cell.metric.format_number(row.raw_mean),
        "validation": lambda cell, row: cell.metric.format_number(row.validation_mean),
        "peak rate": lambda _, row: f"{row.learning_rate:g}",
        "seeds": lambda _, row: seeds_cell(row),
    }
    rows = tuple(
        tuple(column(cell, row) for column in columns.values())
        for cell in cells
        for row in cell.rows.values()
    )
    return Table("Every entrant", tuple(columns), rows)


def tests_table(claims: Sequence[Claim]) -> Table:
    """Return every test behind the claims."""
    metric = claims_metric(claims)
    points = f"{metric.points}{metric.note}"
    header = (
        "claim",
        "cell",
        "difference of",
        points,
        "95 % interval",
        "p",
        "Holm",
        "seeds",
        "verdict",
    )
    rows = tuple(
        (
            claim.letter,
            result.test.cell,
            f"{result.test.first} − {result.test.second}",
            *difference_cells(result.test.difference),
            format_p(result.test.corrected),
            str(len(result.test.difference.by_seed)),
            result.verdict,
        )
        for claim in claims
        for result in claim.results
    )
    return Table("Every test", header, rows)


def oracle_table(cells: Sequence[CellResult]) -> Table:
    """Return the recommended layout beside the fixed strategy that is the best on test."""
    header = ("cell", "recommended", "best fixed on validation", "best fixed on test", "lead")
    rows = []
    for cell in cells:
        best = cell.best_on_test(cell.strategies)
        leads = sorted(map(cell.test_lead, cell.strategies), reverse=True)
        lead = f" {cell.metric.format_difference(leads[0] - leads[1])}" if len(leads) > 1 else ""
        shown = (
            f"{name} {_quality(cell, name)}" for name in (cell.recommended, cell.reference, best)
        )
        rows.append((cell.name, *shown, best + lead))
    return Table("Against the best fixed strategy on test", header, tuple(rows))


def published_table() -> Table:
    """Return others' scores of the full models."""
    tasks = list(dict.fromkeys(task for scores in PUBLISHED_RESULTS.values() for task in scores))
    rows = tuple(
        (model, *(f"{scores[task]:.3f}" for task in tasks))
        for model, scores in PUBLISHED_RESULTS.items()
    )
    return Table("Published, not ours", ("model", *tasks), rows)


def reproduction_markdown(report: ReproductionReport) -> str:
    """Return the report of a plan as Markdown."""
    missing = f"Not finished: {'; '.join(report.missing)}." if report.missing else ""
    parts = [
        f"# {escape_markdown(report.title)}",
        escape_markdown(report.summary),
        escape_markdown(missing),
        table_to_markdown(claims_table(report.claims)),
        markdown_list([claim_text(claim) for claim in report.claims]),
        "## Each cell",
        table_to_markdown(verdicts_table(report.cells, report.claims)),
        table_to_markdown(layouts_table(report.cells)),
        "## Every entrant",
        table_to_markdown(scores_table(report.cells)),
        escape_markdown(SIZES_EXPLANATION),
        "## How each claim is tested",
        markdown_list([f"{claim.letter}: {claim.test}." for claim in report.claims]),
        table_to_markdown(tests_table(report.claims)),
        "## Against the best fixed strategy on test",
        table_to_markdown(oracle_table(report.cells)),
        escape_markdown(ORACLE_EXPLANATION),
        "## Published scores",
        table_to_markdown(published_table()),
        escape_markdown(PUBLISHED_NOTE),
        "## Terms",
        markdown_list(report.terms),
        code_block(report.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def claim_text(claim: Claim) -> str:
    """Return a claim's verdict and its reason in a sentence."""
    return f"({claim.letter}) {claim.statement}: {claim.verdict}; {claim.reason}."
