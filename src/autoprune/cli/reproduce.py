"""The reproduce command: run the studies of a plan, and test the claims on them."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.cli import options
from autoprune.cli.shutdown import open_trackers
from autoprune.errors import format_count

if TYPE_CHECKING:
    from autoprune.reproduction.grid import Grid
    from autoprune.reproduction.report import ReproductionReport
    from autoprune.reproduction.time_estimate import GridEstimate


def reproduce(
    plan: Annotated[
        str,
        typer.Argument(
            help="demo, real, real-distilled, monolingual, mini, paper, or a TOML file; see "
            "studies/README.md."
        ),
    ] = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how long each cell takes; run nothing.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Work on MODEL/TASK/KEEP only, with * for anything; repeat for more."),
    ] = None,
    models_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds models by the plan's names; else AUTOPRUNE_MODELS_DIR."
        ),
    ] = None,
    data_dir: options.DataDirOption = None,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = None,
    log_file: options.LogFileOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    json: options.JsonOption = False,
) -> None:
    """Run a grid of models, tasks and numbers of layers, and test the claims of the paper on it.

    Each cell is a study like that of `search`, in `studies/PLAN/`. The same command again goes on
    where it stopped; several at a time share the cells. The claims are in `reports/PLAN.md`.

    Example: `autoprune reproduce paper --data-dir data --dry-run`
    """
    started = time.perf_counter()
    emit = open_trackers("reproduce", log_file)
    from autoprune.cli.results import command_context, print_json
    from autoprune.experiment.config import RunOptions
    from autoprune.reproduction.grid import GridOptions, build_grid
    from autoprune.reproduction.plan import find_plan, read_plan
    from autoprune.reproduction.run import reproduce_grid
    from autoprune.reproduction.time_estimate import estimate_grid

    run = RunOptions(device=device, workers=workers, trust_remote_code=trust_remote_code)
    chosen = GridOptions(models_dir, data_dir, tuple(only or ()), run)
    grid = build_grid(read_plan(find_plan(plan)), chosen)
    if dry_run:
        estimate = estimate_grid(grid)
        values = estimate.to_dict()
        if not json:
            _print_estimate(estimate)
    else:
        report = reproduce_grid(grid, command_context(emit))
        values = report.to_dict()
        if report.cells:
            values |= {"report": str(grid.report), "page": str(grid.page)}
        if not json:
            _print_report(report, grid)
    if json:
        print_json(values, time.perf_counter() - started)


def _print_estimate(estimate: "GridEstimate") -> None:
    from autoprune.cli.tables import print_line, print_table
    from autoprune.experiment.progress import format_duration
    from autoprune.reporting.tables import Table

    rows = [
        (
            cell.cell.name,
            f"{1000 * cell.step:.0f}",
            str(cell.trials),
            str(cell.runs),
            format_duration(cell.seconds),
        )
        for cell in estimate.to_do
    ]
    rows += [(cell.name, "", "0", "0", "done") for cell in estimate.done]
    print_table(Table("Time", ("cell", "ms a step", "trials", "runs", "at most"), tuple(rows)))
    print_line(
        f"Plan {estimate.plan}: {format_count(len(estimate.done), 'cell')} done, "
        f"{len(estimate.to_do)} to do, at most {format_duration(estimate.seconds)}. "
        "Nothing was run."
    )


def _print_report(report: "ReproductionReport", grid: "Grid") -> None:
    from autoprune.cli.tables import print_line, print_table
    from autoprune.reproduction.report import (
        claim_text,
        claims_table,
        layouts_table,
        verdicts_table,
    )

    if not report.cells:
        print_line(f"No cell of plan {report.plan} is finished yet.")
        return
    print_table(layouts_table(report.cells))
    print_table(verdicts_table(report.cells, report.claims))
    print_table(claims_table(report.claims))
    for claim in report.claims:
        print_line(claim_text(claim))
    for cell in report.missing:
        print_line(f"Not finished: {cell}")
    print_line(f"{report.summary} Report: {grid.report}   page: {grid.page}")
