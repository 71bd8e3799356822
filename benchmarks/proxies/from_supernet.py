r"""Tune layouts from one supernet for a pass each, and write what each reaches to a table.

    python benchmarks/proxies/from_supernet.py MODEL TASK DATA_DIR --keep 6 --net 1 \
        --out STUDY/from-supernets.csv

The supernet is that of `rejected_proxies.py`, seeded with `--net`; so is the tuning. `--few` takes
only layouts that have full runs in the table's folder. Rows that are there are not made again.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.layouts.layout import all_layouts
from experiments import ground
from one_shot import trained
from rejected_proxies import supernet, tuned

HEADER = ("layout", "net", "validation_accuracy", "validation_loss", "seconds")


def main() -> None:
    """Train the supernet, then tune what is not in the table yet."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        arguments.add_argument(name)
    arguments.add_argument("--keep", type=int, required=True)
    arguments.add_argument("--net", type=int, required=True)
    arguments.add_argument("--share", type=float, default=0.1)
    arguments.add_argument("--passes", type=int, default=10)
    arguments.add_argument("--few", action="store_true")
    arguments.add_argument("--out", type=Path, required=True)
    asked = arguments.parse_args()

    laid = ground(asked.model, asked.task, Path(asked.data_dir), asked.keep)
    torch.set_num_threads(1)
    bench, layouts = laid.bench(laid.quick), all_layouts(laid.checkpoint.depth, asked.keep)
    looked = trained(asked.out.parent / "full.csv", "validation_accuracy") if asked.few else {}
    made = set()
    if asked.out.exists():
        with asked.out.open(newline="") as lines:
            made = {(row["layout"], int(row["net"])) for row in csv.DictReader(lines)}
    else:
        asked.out.write_text(",".join(HEADER) + "\n")
    left = [
        layout
        for layout in layouts
        if (str(layout), asked.net) not in made and (not asked.few or str(layout) in looked)
    ]
    started = time.process_time()
    net = supernet(bench, layouts, asked.share, asked.passes, asked.net)
    print(f"supernet {asked.net}: {time.process_time() - started:.1f} s, {len(left)} left")
    for layout in left:
        started = time.process_time()
        loss, accuracy = tuned(bench, net, asked.net, layout)
        seconds = time.process_time() - started
        with asked.out.open("a", newline="") as lines:
            values = (round(accuracy, 6), round(-loss, 6), round(seconds, 2))
            csv.writer(lines, lineterminator="\n").writerow([str(layout), asked.net, *values])


if __name__ == "__main__":
    main()
