"""The worker command: help with a study from any machine."""

from pathlib import Path
from typing import Annotated

import typer

from autoprune.choices import MAX_TRIALS
from autoprune.cli import options
from autoprune.cli.shutdown import open_trackers
from autoprune.errors import format_count


def worker(
    study: Annotated[
        str,
        typer.Argument(
            help="Name of the study, or its folder.", autocompletion=options.complete_studies
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="The model's folder, if it is elsewhere on this machine.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The data's path, if it is elsewhere on this machine.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The teacher's folder, if it is elsewhere on this machine.")
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="The file of unlabelled texts, if it is elsewhere on this machine."),
    ] = None,
    data_dir: options.DataDirOption = None,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = None,
    log_file: options.LogFileOption = None,
    mlflow: options.MlflowOption = False,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    storage: options.StorageOption = None,
    trials_here: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_TRIALS,
            help="End after so many trials. [default: when the study has all]",
        ),
    ] = None,
) -> None:
    """Run trials of a study that `autoprune search` has begun, until it has all it asks for.

    The settings come from the storage; model and data are loaded here, and must be the same. The
    search makes the comparison when all trials are there. A worker may be killed, and come back.

    Example: `autoprune worker mr-12-shc-keep6 --storage postgresql+psycopg://ann@db/studies`
    """
    emit = open_trackers("worker", log_file, mlflow)
    from autoprune.cli.results import command_context
    from autoprune.experiment.config import RunOptions
    from autoprune.experiment.worker import run_worker

    run_options = RunOptions(
        storage=storage, device=device, workers=workers, trust_remote_code=trust_remote_code
    )
    context = command_context(emit)
    local = {"model": model, "task": task, "teacher": teacher, "unlabelled": unlabelled}
    finished, trials = run_worker(study, run_options, context, local, data_dir, trials_here)
    name = Path(study).resolve().name  # also of `.`
    context.progress.say(f"study {name}: {finished} of {format_count(trials, 'trial')} finished")
