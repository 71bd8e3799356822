"""Print what a run's checkpoints cost: bytes, seconds to write and to resume, share of the run.

    python benchmarks/speed/checkpoints.py [MODEL] [TASK] [DATA_DIR]

Defaults to the built-in model and task. One thread; medians of five.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.records import installed_versions
from autoprune.training.checkpoint import CheckpointFile
from experiments import build_default_experiment

TIMES = 5
STEPS = 10


def main() -> None:
    """Run a few steps, write and read the checkpoint, and compare with the time of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    arguments = parser.parse_args()
    experiment = build_default_experiment(arguments.model, arguments.task, arguments.data_dir)
    layout = experiment.strategies["top"]
    evaluator = replace(
        experiment.evaluator(experiment.quick),
        budget=replace(experiment.quick, steps=STEPS, checks=1, patience=1),
    )
    print(
        f"{time.strftime('%Y-%m-%d')}, {arguments.model} on {arguments.task}, {layout}, "
        f"{installed_versions()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "run.safetensors", interval=0, max_share=1e9)
        evaluator.evaluate(layout, 0, checkpoint=file)
        size = file.path.stat().st_size
        writing, resuming = list[float](), list[float]()
        for _ in range(TIMES):
            state = evaluator._start(layout, 0)
            started = time.perf_counter()
            checkpoint = evaluator._resume(state, file, layout, 0)
            resuming.append(time.perf_counter() - started)
            assert state.steps == STEPS, "the run resumes"
            started = time.perf_counter()
            checkpoint.save()
            writing.append(time.perf_counter() - started)
    write, resume = statistics.median(writing), statistics.median(resuming)
    interval = max(CheckpointFile(Path()).interval, write / CheckpointFile(Path()).max_share)
    print(
        f"{size / 2**20:.1f} MiB with the best check's weights; {write:.2f} s to write, "
        f"{resume:.2f} s to resume; one each {interval:.0f} s at most: "
        f"{100 * write / interval:.2f} % of a long run, nothing of a shorter one"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
