"""Gain of pre-training: a full model fine-tuned, compared with its shape from random weights.

    python benchmarks/pretraining/pretraining_gain.py TASK DATA_DIR MODEL... [--seeds 1,2,3]

The full budget; the mean over seeds of the quality on the cleaned test rows, ± the standard
deviation, and the difference. Both have the same seeds and differ in their initial weights only.
"""

import argparse
import platform
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.entrants import comparison_runs
from autoprune.evaluation.records import installed_versions
from autoprune.evaluation.study_files import RECORDS_FILE
from autoprune.experiment.setup import Experiment
from autoprune.training.workers import WorkerPool
from experiments import build_default_experiment


def qualities(experiment: Experiment, seeds: list[int]) -> dict[str, list[float]]:
    """Return the test quality in points, a figure a seed, of `full` and of `scratch`."""
    config = experiment.config.with_keep(experiment.depth)
    whole = replace(experiment, config=config, strategies={})
    with WorkerPool(experiment.workers) as pool, TemporaryDirectory() as folder:
        entrants = [entrant for (entrant,) in whole.entrants(None, pool)]
        path = Path(folder) / RECORDS_FILE
        runs = comparison_runs(whole.test, whole.conditions, path, lambda _: None)
        all_runs = [(entrant, seed) for seed in seeds for entrant in entrants]
        records = runs.finish(all_runs)
    measured: dict[str, list[float]] = {entrant.origin: [] for entrant in entrants}
    for (entrant, _), record in zip(all_runs, records, strict=True):
        measured[entrant.origin].append(100 * record.score("test").quality)
    return measured


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seeds", default="1,2,3", type=lambda text: [*map(int, text.split(","))])
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {installed_versions()}")
    print("| model | layers | passes | peak rate | pre-trained | random weights | difference |")
    print("|---|---|---|---|---|---|---|")
    for model in arguments.models:
        experiment = build_default_experiment(model, arguments.task, arguments.data_dir, keep=1)
        found = qualities(experiment, arguments.seeds)
        full, scratch = found["full"], found["scratch"]
        cells = [f"{fmean(values):.1f} ± {stdev(values):.1f}" for values in (full, scratch)]
        print(
            f"| `{experiment.checkpoint.encoder.name}` | {experiment.checkpoint.depth} | "
            f"{experiment.full.checks} | {experiment.full.learning_rate:g} | {' | '.join(cells)} | "
            f"{fmean(full) - fmean(scratch):+.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
