"""The search command."""

import time
from pathlib import Path
from typing import Any

import typer

from autoprune.cli import options
from autoprune.tasks.task import Columns


def search(
    model: options.Model,
    task: options.TaskName,
    keep: options.Keep,
    trials: options.Trials = 16,
    sampler: options.Sampler = "gp",
    pruner: options.Pruner = "none",
    seed: options.Seed = 0,
    seeds: options.Seeds = 3,
    strategy: options.Strategies = None,
    rival: options.Rivals = None,
    data_dir: options.DataDir = None,
    text: options.TextColumn = None,
    text_pair: options.PairColumn = None,
    label: options.LabelColumn = None,
    metric: options.Metric = None,
    keep_duplicates: options.KeepDuplicates = False,
    epochs: options.Epochs = 3,
    full_epochs: options.FullEpochs = None,
    batch: options.Batch = 32,
    parts: options.Parts = 1,
    tokens: options.Tokens = None,
    learning_rate: options.LearningRate = None,
    method: options.Method = "full",
    device: options.Device = "auto",
    workers: options.Workers = None,
    study: options.StudyName = None,
    storage: options.Storage = None,
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Search which layers to keep, then compare the found layout on fresh seeds and the test split.

    It is held against the fixed strategies, the full model and models trained from scratch. The
    same command again goes on where it stopped. Records go to `studies/`, a report to `reports/`.

    Example: `autoprune search --model mahabert-v2 --task ldc --keep 6`
    """
    started = time.perf_counter()
    from autoprune.cli.laying import lay
    from autoprune.cli.result import check_places, finish
    from autoprune.cli.run import (
        begin_study,
        find_layout,
        fresh_seeds,
        hold_against,
        say_cost,
        say_data,
        say_stopped,
    )
    from autoprune.cli.show import Show
    from autoprune.scoring.crew import Crew
    from autoprune.search.storage import lock, open_storage

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
        "workers": workers,
    }
    ground = lay(**asked, trust_remote_code=trust_remote_code)
    show = Show()
    folder = Path("studies") / (study or ground.study)
    check_places(folder)
    place = open_storage(storage, folder)
    with lock(folder), Crew(ground.workers) as crew:
        begin_study(ground, place, folder.name, seed)
        say_data(ground, show)
        say_cost(ground, show, trials, seeds)
        outcome = find_layout(
            ground,
            show,
            folder,
            crew,
            storage=place,
            trials=trials,
            sampler=sampler,
            pruner=pruner,
            seed=seed,
        )
        if outcome.interrupted or outcome.found is None:
            say_stopped(show, outcome)
            raise typer.Exit(130)
        entrants = ground.entrants(outcome.found, crew)
        comparison = hold_against(ground, show, folder, crew, entrants, fresh_seeds(seed, seeds))
        seconds = time.perf_counter() - started
        finish(ground, asked, folder, entrants, comparison, outcome, seconds, json)
