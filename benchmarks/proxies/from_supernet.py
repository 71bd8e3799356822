r"""Fine-tune layouts for one epoch each from one supernet, and write their scores to a table.

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
from experiments import build_default_experiment
from one_shot import read_trained_scores
from rejected_proxies import train_supernet, tune_from_supernet

HEADER = ("layout", "net", "validation_accuracy", "validation_loss", "seconds")


def main() -> None:
    """Train the supernet, then fine-tune what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--net", type=int, required=True)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    experiment = build_default_experiment(
        arguments.model, arguments.task, Path(arguments.data_dir), arguments.keep
    )
    torch.set_num_threads(1)
    evaluator, layouts = (
        experiment.evaluator(experiment.quick),
        all_layouts(experiment.checkpoint.depth, arguments.keep),
    )
    with_full_runs = (
        read_trained_scores(arguments.out.parent / "full.csv", "validation_accuracy")
        if arguments.few
        else {}
    )
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as lines:
            done = {(row["layout"], int(row["net"])) for row in csv.DictReader(lines)}
    else:
        arguments.out.write_text(",".join(HEADER) + "\n")
    left = [
        layout
        for layout in layouts
        if (str(layout), arguments.net) not in done
        and (not arguments.few or str(layout) in with_full_runs)
    ]
    started = time.process_time()
    net = train_supernet(evaluator, layouts, arguments.share, arguments.passes, arguments.net)
    print(f"supernet {arguments.net}: {time.process_time() - started:.1f} s, {len(left)} left")
    for layout in left:
        started = time.process_time()
        loss, accuracy = tune_from_supernet(evaluator, net, arguments.net, layout)
        seconds = time.process_time() - started
        with arguments.out.open("a", newline="") as lines:
            values = (round(accuracy, 6), round(-loss, 6), round(seconds, 2))
            csv.writer(lines, lineterminator="\n").writerow([str(layout), arguments.net, *values])


if __name__ == "__main__":
    main()
