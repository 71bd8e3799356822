"""Print where a trial's time goes: the share of training proper, and the costliest operations.

    python benchmarks/speed/trial_profile.py [MODEL] [TASK] [DATA_DIR]

Defaults to the built-in model and task. One warm-up trial, then five, one thread; medians.
"""

import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.profiler import profile

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.records import installed_versions
from experiments import build_default_experiment

TRIALS = 5


def main() -> None:
    """Print the share of five trials and a profile of one."""
    model, task = sys.argv[1:3] if len(sys.argv) > 2 else ("demo", "demo")
    experiment = build_default_experiment(
        model, task, Path(sys.argv[3]) if len(sys.argv) > 3 else None
    )
    evaluator, layout = experiment.evaluator(experiment.quick), experiment.strategies["top"]
    evaluator.train(layout, 0)
    shares, seconds = [], []
    for seed in range(TRIALS):
        started = time.perf_counter()
        shares.append(evaluator.train(layout, seed).busy)
        seconds.append(time.perf_counter() - started)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {installed_versions()}")
    print(
        f"{model} on {task}, {layout}, {experiment.quick.steps} steps: "
        f"{statistics.median(seconds):.1f} s a trial, "
        f"{100 * statistics.median(shares):.1f} % of it in forward, backward and "
        f"optimizer steps (lowest of {TRIALS}: {100 * min(shares):.1f} %)"
    )
    with profile() as profiled:
        evaluator.train(layout, 0)
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
