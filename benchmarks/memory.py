"""Print how much memory a process holds after 2 trials, and after 50: it must not grow.

    python benchmarks/memory.py [MODEL] [TASK] [DATA_DIR]

Each trial trains another layout on a seed of its own, as a search does. Linux only. What the C
library keeps of freed memory is given back before each look.
"""

import argparse
import ctypes
import gc
import random
import re
import time
from dataclasses import replace
from pathlib import Path

import torch

from autoprune.evidence.versions import installed
from autoprune.layouts.layout import every
from trial_profile import ground

LOOKS = (2, 10, 20, 30, 40, 50)
STEPS = 20


def held() -> float:
    """Return the resident memory of this process in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "the kernel tells it"
    return int(found[1]) / 1024


def main() -> None:
    """Run the trials and print what is held on the way."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", nargs="?", default="demo")
    arguments.add_argument("task", nargs="?", default="demo")
    arguments.add_argument("data_dir", nargs="?", type=Path)
    asked = arguments.parse_args()
    laid = ground(asked.model, asked.task, asked.data_dir)
    bench = laid.bench(replace(laid.quick, steps=STEPS))
    layouts = every(laid.checkpoint.depth, laid.keep)
    random.Random(0).shuffle(layouts)
    print(
        f"{time.strftime('%Y-%m-%d')}, {asked.model} on {asked.task}, {STEPS} steps, {installed()}"
    )
    first = 0.0
    for number, layout in enumerate(layouts[: LOOKS[-1]], 1):
        bench.measure(layout, number)
        if number in LOOKS:
            first = first or held()
            now = held()
            print(f"after {number:2} trials {now:7.1f} MiB, {100 * (now / first - 1):+.2f} %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
