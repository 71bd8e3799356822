"""The result: a report in a file, and a table or one JSON object on standard output."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from autoprune.cli.ground import Ground
from autoprune.cli.run import RECORDS, conditions
from autoprune.cli.show import percent
from autoprune.evidence.comparison import Comparison
from autoprune.evidence.record import now, repeated
from autoprune.evidence.records import read
from autoprune.evidence.report import as_json, markdown
from autoprune.evidence.setting import Setting
from autoprune.evidence.verdict import p_text, points, recommendation, verdict
from autoprune.evidence.writing import write_whole
from autoprune.search.findings import Outcome


def finish(
    ground: Ground,
    folder: Path,
    comparison: Comparison,
    outcome: Outcome | None,
    seconds: float,
    as_one_object: bool,
) -> None:
    """Write the report, then print the result; `outcome` is None where nothing was searched."""
    under = conditions(ground, ground.full)
    setting = Setting(
        model=ground.checkpoint.encoder.name,
        commit=ground.checkpoint.commit,
        task=ground.task.name,
        labels=ground.splits.names,
        metric=ground.task.metric,
        depth=ground.checkpoint.depth,
        keep=ground.keep,
        quick=ground.quick if outcome else None,
        full=ground.full,
        cleaned=(*ground.splits.cleaned, ground.test.cleaned),
        fingerprints=under.fingerprints | {"test": ground.test.fingerprint},
        versions=under.versions,
        device=under.device,
        command=shlex.join(["autoprune", *sys.argv[1:]]),
        finished=now(),
    )
    tried = {finding.layout for finding in outcome.findings} if outcome else set()
    trials = [
        record
        for record in read(folder / RECORDS)
        if record.phase == "search" and record.budget == ground.quick and record.layout in tried
    ]
    report = Path("reports") / f"{folder.name}.md"
    write_whole(report, markdown(setting, comparison, trials))
    if as_one_object:
        typer.echo(json.dumps(_object(folder, comparison, outcome, seconds, report)))
        return
    _print_table(comparison)
    typer.echo(verdict(comparison))
    typer.echo(recommendation(comparison))
    typer.echo(f"Report: {report}   records: {folder / RECORDS}   {seconds:.0f} s")


def _object(
    folder: Path, comparison: Comparison, outcome: Outcome | None, seconds: float, report: Path
) -> dict[str, Any]:
    searched: dict[str, Any] = {}
    if outcome is not None:
        searched = {
            "found": str(outcome.found),
            "trials": outcome.trials,
            "distinct_layouts": outcome.distinct_layouts,
        }
    return {
        "study": folder.name,
        **searched,
        "recommended": str(comparison.row(comparison.recommended).layout),
        "recommended_origin": comparison.recommended,
        "repeated": repeated(read(folder / RECORDS)),
        "seconds": round(seconds, 1),
        "verdict": verdict(comparison),
        "report": str(report),
        "comparison": as_json(comparison),
    }


def _print_table(comparison: Comparison) -> None:
    table = Table(title="Test split, cleaned: means over fresh seeds", title_justify="left")
    for heading in ("origin", "layers", "layout"):
        table.add_column(heading, no_wrap=True)
    for heading in ("test", "raw", "validation", "parameters", "difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.rows:
        gap = row.difference
        held = ("reference", "", "")
        if row.origin != comparison.reference:
            held = (
                points(gap.mean),
                f"{points(gap.low)} to {points(gap.high)}",
                p_text(gap.p_value),
            )
        table.add_row(
            row.origin,
            row.layout.picture,
            str(row.layout),
            percent(row.test_mean),
            percent(row.raw_mean),
            percent(row.validation_mean),
            f"{row.parameters / 1e6:.1f} M",
            *held,
        )
    console = Console()
    # A pipe has no width: the table is written whole for it.
    console.print(table, width=console.width if console.is_terminal else 160, markup=False)
