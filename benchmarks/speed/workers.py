"""Print how many more trials an hour two processes make than one, one thread each.

    python benchmarks/speed/workers.py [MODEL] [TASK] [DATA_DIR]

Real fine-tuning with the budget of a search; each trial has another layout and another seed. One
process and two run in turn, after a warm-up; medians of the rounds.
"""

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.records import installed_versions
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.workers import WorkerPool, available_cores
from experiments import build_default_experiment

ROUNDS = 5
TRIALS = 4  # for each process, in each round


def trials_per_hour(
    pool: WorkerPool, evaluator: LayoutEvaluator, layouts: list[Layout], seeds: Iterator[int]
) -> float:
    """Return the trials an hour of one round."""
    started = time.perf_counter()
    sample = random.Random(next(seeds)).sample(layouts, TRIALS * pool.workers)
    for wait in [pool.start(evaluator.evaluate, layout, next(seeds)) for layout in sample]:
        wait()
    return 3600 * len(sample) / (time.perf_counter() - started)


def main() -> None:
    """Run one process and two in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    arguments = parser.parse_args()
    experiment = build_default_experiment(arguments.model, arguments.task, arguments.data_dir)
    evaluator, layouts = (
        experiment.evaluator(experiment.quick),
        all_layouts(experiment.checkpoint.depth, experiment.keep),
    )
    seeds, single, double = itertools.count(1), list[float](), list[float]()
    with WorkerPool(1) as one, WorkerPool(2) as two:
        for pool in (one, two):
            trials_per_hour(pool, evaluator, layouts, seeds)
        for _ in range(ROUNDS):
            single.append(trials_per_hour(one, evaluator, layouts, seeds))
            double.append(trials_per_hour(two, evaluator, layouts, seeds))
            print(
                f"{single[-1]:.0f} and {double[-1]:.0f} trials an hour, "
                f"{double[-1] / single[-1]:.2f} ×"
            )
    ratios = [more / less for more, less in zip(double, single, strict=True)]
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {available_cores()} of "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}, "
        f"{installed_versions()}\n{arguments.model} on {arguments.task}, "
        f"{experiment.quick.steps} steps, {ROUNDS} rounds: {statistics.median(single):.0f} and "
        f"{statistics.median(double):.0f} trials an hour, {statistics.median(ratios):.2f} × "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
