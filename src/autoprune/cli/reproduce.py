"""The reproduce command."""

import time
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.experiment.tracking import open_log


def reproduce(
    plan: Annotated[
        str, typer.Argument(help="demo, mini, paper, or a TOML file; see studies/README.md.")
    ] = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how long each cell takes; run nothing.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Work on MODEL/TASK/KEEP only, with * for anything; repeat for more.",
            show_default=False,
        ),
    ] = None,
    models_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds models by the plan's names; else AUTOPRUNE_MODELS_DIR.",
            show_default=False,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    log_file: options.LogFile = None,
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Run a grid of models, tasks and numbers of layers, and test the claims of the paper on it.

    Each cell is a study like that of `search`, in `studies/PLAN/`. The same command again goes on
    where it stopped; several at a time share the cells. The claims stand in `reports/PLAN.md`.

    Example: `autoprune reproduce paper --data-dir data --dry-run`
    """
    started = time.perf_counter()
    open_log(log_file, "reproduce")
    from autoprune.cli.claims_end import check_claims, end, say_cost
    from autoprune.experiment.progress import ProgressDisplay
    from autoprune.experiment.result import print_object
    from autoprune.reproduction.grid import build_grid, run_grid, select_cells
    from autoprune.reproduction.plan import find_plan, read_plan

    chosen = read_plan(find_plan(plan))
    check_claims(chosen)
    places = build_grid(chosen, models_dir, data_dir, workers, device, trust_remote_code)
    wanted = select_cells(chosen, places, only or [])
    if dry_run:
        result = say_cost(chosen, wanted, json)
    else:
        run_grid(chosen, places, wanted, ProgressDisplay())
        result = end(chosen, places, json)
    if json:
        print_object(result, time.perf_counter() - started)
