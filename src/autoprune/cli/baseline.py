"""The baseline command."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from autoprune.cli import options
from autoprune.experiment.tracking import open_log, open_mlflow
from autoprune.tasks.task import Columns


def baseline(
    model: options.Model,
    task: options.TaskName,
    keep: options.Keep,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="The comparison's seeds are the next ones.")
    ] = 0,
    seeds: options.Seeds = 3,
    strategy: options.Strategies = None,
    rival: options.Rivals = None,
    data_dir: options.DataDir = None,
    text: options.TextColumn = None,
    text_pair: options.PairColumn = None,
    label: options.LabelColumn = None,
    metric: options.MetricOption = None,
    keep_duplicates: options.KeepDuplicates = False,
    epochs: Annotated[
        int, typer.Option(min=1, help="Quick budget of a search that goes on with this study.")
    ] = 3,
    full_epochs: options.FullEpochs = None,
    batch: options.Batch = 32,
    parts: options.Parts = 1,
    tokens: options.Tokens = None,
    learning_rate: options.LearningRate = None,
    learning_rates: options.LearningRates = None,
    method: options.Method = "full",
    device: options.Device = "auto",
    workers: options.Workers = None,
    study: options.StudyName = None,
    log_file: options.LogFile = None,
    mlflow: options.Mlflow = False,
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Compare the fixed strategies, the full model and models trained from scratch; no search.

    Records go to `studies/`, a report to `reports/`; what a search has measured is not run again.

    Example: `autoprune baseline --model muril --task shc --keep 6 --strategy top --strategy middle`
    """
    started = time.perf_counter()
    open_log(log_file, "baseline")
    open_mlflow(mlflow)
    from autoprune.experiment.pipeline import run_comparison, tune_entrants
    from autoprune.experiment.progress import ProgressDisplay
    from autoprune.experiment.result import check_study_paths, finish_study, print_object
    from autoprune.experiment.search_step import comparison_seeds, report_data, report_expected_time
    from autoprune.experiment.setup import build_experiment
    from autoprune.storage.locks import lock_study_folder
    from autoprune.training.workers import WorkerPool

    asked: dict[str, Any] = {
        "model": model,
        "task": task,
        "keep": keep,
        "strategies": strategy or None,
        "rivals": rival or [],
        "columns": Columns(text, text_pair, label),
        "metric": metric,
        "data_dir": data_dir,
        "keep_duplicates": keep_duplicates,
        "seed": seed,
        "device": device,
        "method": method,
        "epochs": epochs,
        "full_epochs": full_epochs,
        "batch": batch,
        "parts": parts,
        "tokens": tokens,
        "learning_rate": learning_rate,
        "learning_rates": options.rates_of(learning_rates),
        "workers": workers,
    }
    ground = build_experiment(**asked, trust_remote_code=trust_remote_code)
    show = ProgressDisplay()
    folder = Path("studies") / (study or ground.study)
    check_study_paths(folder)
    with lock_study_folder(folder), WorkerPool(ground.workers) as crew:
        report_data(ground, show)
        report_expected_time(ground, show, 0, seeds)
        entrants = tune_entrants(ground, show, folder, crew, ground.entrants(None, crew), seed)
        comparison = run_comparison(
            ground, show, folder, crew, entrants, comparison_seeds(seed, seeds)
        )
        seconds = time.perf_counter() - started
        result = finish_study(ground, asked, folder, entrants, comparison, None, seconds, json)
    if json:
        print_object(result, time.perf_counter() - started)
