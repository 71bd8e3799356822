"""Print what a run's checkpoints cost: bytes, seconds to write and to take up, share of the run.

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
from experiments import ground

TIMES = 5
STEPS = 10


def main() -> None:
    """Run a few steps, write and take up the state, and compare with a whole run's time."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", nargs="?", default="demo")
    arguments.add_argument("task", nargs="?", default="demo")
    arguments.add_argument("data_dir", nargs="?", type=Path)
    asked = arguments.parse_args()
    laid = ground(asked.model, asked.task, asked.data_dir)
    layout = laid.strategies["top"]
    brief = replace(
        laid.bench(laid.quick), budget=replace(laid.quick, steps=STEPS, checks=1, patience=1)
    )
    print(
        f"{time.strftime('%Y-%m-%d')}, {asked.model} on {asked.task}, {layout}, "
        f"{installed_versions()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = CheckpointFile(Path(folder) / "run.safetensors", interval=0, max_share=1e9)
        brief.evaluate(layout, 0, checkpoint=place)
        size = place.path.stat().st_size
        writing, taking = list[float](), list[float]()
        for _ in range(TIMES):
            state = brief._start(layout, 0)
            started = time.perf_counter()
            checkpoint = brief._resume(state, place, layout, 0)
            taking.append(time.perf_counter() - started)
            assert state.steps == STEPS, "the run resumes"
            started = time.perf_counter()
            checkpoint.save()
            writing.append(time.perf_counter() - started)
    write, take = statistics.median(writing), statistics.median(taking)
    between = max(CheckpointFile(Path()).interval, write / CheckpointFile(Path()).max_share)
    print(
        f"{size / 2**20:.1f} MiB with the best check's weights; {write:.2f} s to write, "
        f"{take:.2f} s to take up; one each {between:.0f} s at most: {100 * write / between:.2f} % "
        "of a long run, nothing of a shorter one"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
