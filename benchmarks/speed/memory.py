"""Print the memory and open files of a process after 10 trials, and after 200: they must not grow.

    python benchmarks/speed/memory.py [MODEL] [TASK] [DATA_DIR]
    ... --steps 69 --looks 2,50             trials as long as a search's, from the second on

Each trial trains another layout on a seed of its own, as a search does, and writes one checkpoint
on the way. Linux only. Freed memory that the C library keeps is returned before each look.
"""

import argparse
import ctypes
import gc
import random
import re
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.records import installed_versions
from autoprune.layouts.layout import all_layouts
from autoprune.training.checkpoint import CheckpointFile
from experiments import build_default_experiment

LOOKS = "10,50,100,150,200"
AROUND = 5  # a look is the median over at most so many trials before it and after it
STEPS = 8


def resident_memory() -> float:
    """Return the resident memory of this process in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "Linux has this line"
    return int(found[1]) / 1024


def main() -> None:
    """Run the trials and print the memory on the way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--looks", default=LOOKS)
    arguments = parser.parse_args()
    looks = [int(look) for look in arguments.looks.split(",")]
    around = [min(AROUND, look - 1) for look in looks]  # none takes the first trial in
    experiment = build_default_experiment(arguments.model, arguments.task, arguments.data_dir)
    evaluator = experiment.evaluator(replace(experiment.quick, steps=arguments.steps))
    layouts = all_layouts(experiment.checkpoint.depth, experiment.keep)
    random.Random(0).shuffle(layouts)
    print(
        f"{time.strftime('%Y-%m-%d')}, {arguments.model} on {arguments.task}, "
        f"{arguments.steps} steps, {installed_versions()}",
        flush=True,
    )
    memory, files = list[float](), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = CheckpointFile(Path(folder) / "run.safetensors", interval=0.1)
        for number, layout in enumerate(layouts[: looks[-1] + around[-1]], 1):
            evaluator.evaluate(layout, number, checkpoint=checkpoint)
            checkpoint.remove()
            memory.append(resident_memory())
            files.append(len(list(Path("/proc/self/fd").iterdir())))
            for look, near in zip(looks, around, strict=True):
                if number == look + near:
                    now, first = (
                        statistics.median(memory[middle - width : middle + width])
                        for middle, width in ((look, near), (looks[0], around[0]))
                    )
                    print(
                        f"after {look:3} trials {now:6.1f} MiB ({100 * (now / first - 1):+.2f} %), "
                        f"at most {max(files)} open files",
                        flush=True,
                    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
