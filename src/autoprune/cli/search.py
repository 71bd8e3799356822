"""The search command."""

import time
from typing import Any

from autoprune.cli import options
from autoprune.experiment.tracking import open_log, open_mlflow
from autoprune.layouts.layout import parse_keeps
from autoprune.tasks.task import Columns


def search(
    model: options.Model,
    task: options.TaskName,
    keep: options.Keeps,
    trials: options.Trials = 16,
    minutes: options.Minutes = None,
    sampler: options.Sampler = "gp",
    pruner: options.Pruner = "none",
    promote: options.Promote = False,
    proxy: options.Proxy = "none",
    seed: options.Seed = 0,
    seeds: options.Seeds = 3,
    strategy: options.Strategies = None,
    rival: options.Rivals = None,
    data_dir: options.DataDir = None,
    text: options.TextColumn = None,
    text_pair: options.PairColumn = None,
    label: options.LabelColumn = None,
    metric: options.MetricOption = None,
    keep_duplicates: options.KeepDuplicates = False,
    epochs: options.Epochs = 3,
    full_epochs: options.FullEpochs = None,
    batch: options.Batch = 32,
    parts: options.Parts = 1,
    tokens: options.Tokens = None,
    learning_rate: options.LearningRate = None,
    learning_rates: options.LearningRates = None,
    method: options.Method = "full",
    device: options.Device = "auto",
    workers: options.Workers = None,
    ray: options.Ray = None,
    gpus_per_worker: options.GpusPerWorker = None,
    max_drop: options.MaxDrop = None,
    max_latency_ms: options.MaxLatency = None,
    max_megabytes: options.MaxMegabytes = None,
    study: options.StudyName = None,
    storage: options.Storage = None,
    log_file: options.LogFile = None,
    mlflow: options.Mlflow = False,
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Search which layers to keep, then compare the found layout on fresh seeds and the test split.

    It is held against the fixed strategies, the full model and models trained from scratch. The
    same command again goes on where it stopped. Records go to `studies/`, a report to `reports/`.
    With `--keep 2-8`, each number of layers is a study; at the end stands what each of them costs.

    Example: `autoprune search --model mahabert-v2 --task ldc --keep 6`
    """
    started = time.perf_counter()
    open_log(log_file, "search")
    open_mlflow(mlflow)
    from autoprune.cli.tables import print_pareto
    from autoprune.experiment.pareto import check_limits, check_pareto_paths, report_pareto
    from autoprune.experiment.pipeline import run_studies
    from autoprune.experiment.progress import ProgressDisplay
    from autoprune.experiment.proxy_scores import check_proxy
    from autoprune.experiment.result import print_object
    from autoprune.experiment.setup import build_experiments
    from autoprune.training.ray_workers import check_ray

    asked: dict[str, Any] = {
        "model": model,
        "task": task,
        "strategies": strategy or None,
        "rivals": rival or [],
        "columns": Columns(text, text_pair, label),
        "metric": metric,
        "data_dir": data_dir,
        "keep_duplicates": keep_duplicates,
        "seed": seed,
        "device": device,
        "method": method,
        "promote": promote,
        "epochs": epochs,
        "full_epochs": full_epochs,
        "batch": batch,
        "parts": parts,
        "tokens": tokens,
        "learning_rate": learning_rate,
        "learning_rates": options.rates_of(learning_rates),
        "workers": workers,
    }
    options.promotes(promote, sampler, pruner)
    check_ray(ray, gpus_per_worker, workers, pruner)
    limits = check_limits(parse_keeps(keep), max_drop, max_latency_ms, max_megabytes)
    grounds = build_experiments(
        keeps=parse_keeps(keep), **asked, trust_remote_code=trust_remote_code
    )
    check_pareto_paths(grounds, study, options.REPORTS_FOLDER)
    check_proxy(proxy, sampler, grounds)
    show = ProgressDisplay()
    done = run_studies(
        grounds,
        study,
        asked,
        show,
        trials=trials,
        minutes=minutes,
        sampler=sampler,
        pruner=pruner,
        proxy=proxy,
        seed=seed,
        seeds=seeds,
        storage=storage,
        quiet=json,
        ray=ray,
        gpus=gpus_per_worker,
    )
    if len(done) == 1:
        result = done[0].result
    else:
        pareto = report_pareto(done, limits, options.REPORTS_FOLDER, show.say)
        result = pareto.to_dict()
        if not json:
            print_pareto(pareto)
    if json:
        print_object(result, time.perf_counter() - started)
