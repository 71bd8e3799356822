"""Print how many more trials an hour two processes make than one, one thread each.

    python benchmarks/speed/workers.py [MODEL] [TASK] [DATA_DIR]

Real fine-tuning with the budget of a search; each trial has a layout and a seed of its own. One
process and two take turns, after a warm-up; medians of the rounds.
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
from experiments import ground

ROUNDS = 5
TRIALS = 4  # for each process, in each round


def rate(
    crew: WorkerPool, bench: LayoutEvaluator, layouts: list[Layout], seeds: Iterator[int]
) -> float:
    """Return the trials an hour of one round."""
    started = time.perf_counter()
    mine = random.Random(next(seeds)).sample(layouts, TRIALS * crew.workers)
    for wait in [crew.start(bench.evaluate, layout, next(seeds)) for layout in mine]:
        wait()
    return 3600 * len(mine) / (time.perf_counter() - started)


def main() -> None:
    """Let one process and two take turns."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", nargs="?", default="demo")
    arguments.add_argument("task", nargs="?", default="demo")
    arguments.add_argument("data_dir", nargs="?", type=Path)
    asked = arguments.parse_args()
    laid = ground(asked.model, asked.task, asked.data_dir)
    bench, layouts = laid.bench(laid.quick), all_layouts(laid.checkpoint.depth, laid.keep)
    seeds, one, two = itertools.count(1), list[float](), list[float]()
    with WorkerPool(1) as alone, WorkerPool(2) as both:
        for crew in (alone, both):
            rate(crew, bench, layouts, seeds)
        for _ in range(ROUNDS):
            one.append(rate(alone, bench, layouts, seeds))
            two.append(rate(both, bench, layouts, seeds))
            print(f"{one[-1]:.0f} and {two[-1]:.0f} trials an hour, {two[-1] / one[-1]:.2f} ×")
    ratios = [more / less for more, less in zip(two, one, strict=True)]
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {available_cores()} of "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}, "
        f"{installed_versions()}\n{asked.model} on {asked.task}, "
        f"{laid.quick.steps} steps, {ROUNDS} rounds: {statistics.median(one):.0f} and "
        f"{statistics.median(two):.0f} trials an hour, {statistics.median(ratios):.2f} × "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
