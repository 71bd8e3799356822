"""The worker command: help with a study from anywhere."""

from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.experiment.tracking import open_log, open_mlflow


def worker(
    study: Annotated[str, typer.Argument(help="Name of the study, or its folder.")],
    storage: options.Storage = None,
    model_here: Annotated[
        str | None,
        typer.Option(
            "--model", help="The model's folder, where it lies elsewhere here.", show_default=False
        ),
    ] = None,
    task_here: Annotated[
        str | None,
        typer.Option(
            "--task", help="The data's path, where they lie elsewhere here.", show_default=False
        ),
    ] = None,
    data_dir: options.DataDir = None,
    trials_here: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many trials. [default: when the study has all]"),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    log_file: options.LogFile = None,
    mlflow: options.Mlflow = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Make trials of a study that `autoprune search` has begun, until it has all it asked for.

    The settings come from the storage; model and data are loaded here, and must be the same. The
    search makes the comparison when all trials are there. A worker may be killed, and come back.

    Example: `autoprune worker mr-12-shc-keep6 --storage postgresql+psycopg://ann@db/studies`
    """
    open_log(log_file, "worker")
    open_mlflow(mlflow)
    from autoprune.experiment.progress import ProgressDisplay, graceful_shutdown
    from autoprune.experiment.worker import open_study_storage, run_study_trials, worker_experiment
    from autoprune.search.study import finished_trials, stored_config

    place, folder = open_study_storage(study, storage)
    settings = stored_config(place, folder.name)
    here = {
        "model": model_here,
        "task": task_here,
        "data_dir": data_dir,
        "device": device,
        "workers": workers,
    }
    ground = worker_experiment(settings, here, trust_remote_code)
    show = ProgressDisplay()
    with graceful_shutdown(show.say):
        if run_study_trials(ground, settings, place, folder, trials_here, show):
            raise KeyboardInterrupt
    done = len(finished_trials(place, folder.name, ground.checkpoint.depth))
    show.say(f"{done} of {settings['trials']} trials of study {folder.name} are finished")
