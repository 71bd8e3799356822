"""The end of a plan: the claims tested on its finished cells, written and printed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.experiment.progress import format_duration
from autoprune.experiment.result import check_writable, command_line
from autoprune.experiment.tables import PIPE_WIDTH, print_line
from autoprune.files import write_atomic
from autoprune.reporting.tables import Table
from autoprune.reproduction.claims import Claim, test_claims
from autoprune.reproduction.grid import GridCell, estimate_times, finished_cells
from autoprune.reproduction.page import claims_page
from autoprune.reproduction.paired_tests import cell_result
from autoprune.reproduction.plan import Plan
from autoprune.reproduction.report import (
    ReproductionReport,
    claim_text,
    claims_summary,
    claims_table,
    layouts_table,
    reproduction_markdown,
    verdicts_table,
)


def check_claims(plan: Plan) -> None:
    """Raise `StudyError` now where the report could not be written after hours of work."""
    for place in _reports(plan):
        check_writable(place)


def say_cost(plan: Plan, places: Sequence[GridCell], quiet: bool) -> dict[str, Any]:
    """Print what each cell takes at most from now on, unless `quiet`; return it as values."""
    todo = [place for place in places if finished_cells(place, plan) is None]
    costs = estimate_times(todo, plan)
    done = [place for place in places if place not in todo]
    whole = sum(cost.seconds for cost in costs)
    if not quiet:
        rows = [
            (
                cost.place.name,
                f"{1000 * cost.step:.0f}",
                str(cost.trials),
                str(cost.runs),
                format_duration(cost.seconds),
            )
            for cost in costs
        ]
        rows += [(place.name, "", "0", "0", "done") for place in done]
        header = ("cell", "ms a step", "trials", "runs", "at most")
        _print(Table("Time", header, tuple(rows)))
        print_line(
            f"Plan {plan.name}: {len(done)} cells done, {len(todo)} to do, "
            f"at most {format_duration(whole)}. Nothing was run."
        )
    return {
        "plan": plan.name,
        "done": [place.path for place in done],
        "to_do": {
            cost.place.path: {
                "seconds_per_step": cost.step,
                "trials": cost.trials,
                "runs": cost.runs,
                "seconds": cost.seconds,
            }
            for cost in costs
        },
        "at_most_seconds": whole,
    }


def end(plan: Plan, places: Sequence[GridCell], quiet: bool) -> dict[str, Any]:
    """Test the claims on the finished cells, write the report, and print them unless `quiet`.

    Returns what `--json` tells.
    """
    ended = {place.name: finished_cells(place, plan) for place in places}
    studies = [one for one in ended.values() if one is not None]
    missing = tuple(name for name, one in ended.items() if one is None)
    if not studies:
        if not quiet:
            print_line(f"No cell of plan {plan.name} is finished yet.")
        return {"plan": plan.name, "missing": list(missing), "claims": []}
    cells = tuple(map(cell_result, studies))
    found = ReproductionReport(
        plan=plan.name,
        cells=cells,
        claims=tuple(test_claims(cells, plan.multilingual, plan.margin / 100)),
        missing=missing,
        terms=tuple(_terms(plan, studies)),
        command=command_line(sys.argv[1:]),
    )
    report, page = _reports(plan)
    write_atomic(page, claims_page(found))
    write_atomic(report, reproduction_markdown(found))
    if not quiet:
        _show(found, report, page)
    return {**_values(found), "report": str(report), "page": str(page)}


def _reports(plan: Plan) -> tuple[Path, Path]:
    return Path("reports") / f"{plan.name}.md", Path("reports") / f"{plan.name}.html"


def _terms(plan: Plan, studies: Sequence[FinishedStudy]) -> list[str]:
    """Say how the figures were made."""
    first = studies[0].setting
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    settings = {one.setting.task: one.setting for one in studies}
    return [
        f"{plan.seeds} fresh seeds for each entrant, {plan.trials} trials for each search; "
        "every entrant of a cell has the same budget, data and seeds",
        *(
            f"{task}: at most {one.full.steps} steps of {one.full.batch} rows, "
            f"{one.full.tokens} tokens, peak rate {one.full.learning_rate:g}"
            f"{' in the search' if one.rates else ''}"
            for task, one in settings.items()
        ),
        _rates(settings),
        f"comparable means at most {plan.margin:g} points below",
        f"{versions}; {first.device}",
    ]


def _rates(settings: Mapping[str, StudyMetadata]) -> str:
    """Say how the learning rates of the comparison came about, task by task."""
    if not any(one.rates for one in settings.values()):
        return "the learning rate is the same for all entrants and was not tuned for any of them"
    said = "; ".join(
        f"{task}: {', '.join(f'{rate:g}' for rate in one.rates) or 'one for all'}"
        for task, one in settings.items()
    )
    return (
        "each entrant's peak rate was chosen by validation, after one run with each of a grid "
        f"within the full budget on a seed that the comparison does not use: {said}"
    )


def _show(found: ReproductionReport, report: Path, page: Path) -> None:
    _print(layouts_table(found.cells))
    _print(verdicts_table(found.cells, found.claims))
    _print(claims_table(found.claims))
    for claim in found.claims:
        print_line(claim_text(claim))
    for cell in found.missing:
        print_line(f"Not finished: {cell}")
    print_line(f"{claims_summary(found)} Report: {report}   page: {page}")


def _print(content: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    table = Drawn(box=box.SIMPLE, padding=(0, 1), title=content.caption, title_justify="left")
    for name in content.header:
        table.add_column(name)
    for row in content.rows:
        table.add_row(*(Text(one if isinstance(one, str) else one.picture) for one in row))
    console.print(table)


def _values(found: ReproductionReport) -> dict[str, Any]:
    return {
        "plan": found.plan,
        "missing": list(found.missing),
        "claims": [_claim(one) for one in found.claims],
        "cells": [
            {
                "cell": cell.name,
                "recommended": str(cell.rows[cell.recommended].layout),
                "recommended_origin": cell.recommended,
                "best_fixed": cell.reference,
                "verdicts": {one.letter: one.of_cell(cell.name) for one in found.claims},
            }
            for cell in found.cells
        ],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "letter": claim.letter,
        "statement": claim.statement,
        "test": claim.test,
        "effect_of": claim.effect_of,
        "effect": asdict(claim.effect) if claim.effect else None,
        "verdict": claim.verdict,
        "reason": claim.reason,
        "findings": [asdict(one.tested) | {"verdict": one.verdict} for one in claim.findings],
    }
