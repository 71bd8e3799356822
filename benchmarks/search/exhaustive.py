"""Train every layout of a model on a task, and write how each scored at each check.

    python benchmarks/search/exhaustive.py MODEL TASK DATA_DIR --keep 6 --out FOLDER
    ... --full --seeds 3,4 --spread 60      some layouts at the full budget
    ... --full --seeds 3,4 --as 2           those that quick.csv has with that seed
    ... --tokens 32                         texts cut shorter than a search would

The table that searches are judged by, so unlike a search it looks at the test split too. One CSV
for each budget: a row for each check of each run. Layouts come in an order drawn once, so that a
table that is still growing is a fair sample. `--spread N` takes N layouts whose scores in
quick.csv on the first seed are evenly spread. Ctrl-C or a kill loses the runs at hand; the same
command goes on.
"""

import argparse
import csv
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.embeddings import keep_embedding_rows
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.pruning import keep_layers
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.training.loop import (
    MicroBatcher,
    TrainingClock,
    TrainingState,
    evaluation_steps,
    make_optimizer,
    predict_logits,
    train,
)
from autoprune.training.metrics import score_predictions
from autoprune.training.workers import WorkerPool, available_cores
from experiments import ground

COLUMNS = (
    "layout",
    "seed",
    "step",
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "test_loss",
    "seconds",
)
Row = tuple[str, int, int, float, float, float, float, float]

Where = tuple[str, str, str, int, int | None]  # as `lay` takes it

_laid: dict[Where, Experiment] = {}


def run(where: Where, layout: str, seed: int, full: bool) -> list[Row]:
    """Return a row for each check of one run; `seconds` are the processor's, training alone."""
    laid = _laid.get(where) or _laid.setdefault(where, lay(*where))
    budget = laid.full if full else laid.quick
    assert laid.inputs.train.kept is not None
    model = load_classifier(laid.checkpoint, laid.splits.names, seed)
    keep_embedding_rows(model, laid.inputs.train.kept)
    keep_layers(model, Layout.parse(layout))
    parts, clock, rows = MicroBatcher(budget.batch), TrainingClock(), list[Row]()
    course = TrainingState(model, make_optimizer(model, laid.device), parts, clock)
    spent, since = 0.0, time.process_time()
    for step in train(course, laid.inputs.train, budget, seed, laid.device):
        if step not in evaluation_steps(budget):
            continue
        spent += time.process_time() - since
        scores = []
        for name, encoded in (("validation", laid.inputs.validation), ("test", laid.inputs.test)):
            logits = predict_logits(model, encoded, laid.device, parts, clock)
            scores.append(score_predictions(logits, encoded.labels, "accuracy", name, seed, 0.0))
        valid, test = scores
        figures = (
            round(valid.quality, 5),
            round(valid.loss, 5),
            round(test.quality, 5),
            round(test.loss, 5),
        )
        rows.append((layout, seed, step, *figures, round(spent, 2)))
        since = time.process_time()
    return rows


def lay(model: str, task: str, data_dir: str, keep: int, tokens: int | None) -> Experiment:
    """Lay the ground of a search with the command line's own defaults, but for `tokens`."""
    return ground(model, task, Path(data_dir), keep, tokens=tokens)


def chosen(quick: Path, number: int) -> list[str]:
    """Return `number` layouts evenly spread over the last validation accuracy in `quick`.

    On its first seed: with others the spread would change as the table grows.
    """
    rows = list(read(quick))
    rows = [row for row in rows if row["seed"] == rows[0]["seed"]]
    last = {row["layout"]: float(row["validation_accuracy"]) for row in rows}
    ranked = sorted(last, key=lambda layout: (last[layout], layout))
    return [ranked[round(i * (len(ranked) - 1) / (number - 1))] for i in range(number)]


def read(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, none where there is no file."""
    if table.exists():
        with table.open(newline="") as lines:
            yield from csv.DictReader(lines)


def append(table: Path, rows: Sequence[Row]) -> None:
    """Add the rows of a run in one write; the header first."""
    table.parent.mkdir(parents=True, exist_ok=True)
    empty = not table.exists()
    with table.open("a", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerows([COLUMNS, *rows] if empty else rows)


def main() -> None:
    """Run what the table still lacks."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("task")
    arguments.add_argument("data_dir")
    arguments.add_argument("--keep", type=int, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--seeds", default="0")
    arguments.add_argument("--full", action="store_true")
    some = arguments.add_mutually_exclusive_group()
    some.add_argument("--spread", type=int)
    some.add_argument("--as", dest="like", type=int)
    arguments.add_argument("--tokens", type=int)
    asked = arguments.parse_args()

    where = (asked.model, asked.task, asked.data_dir, asked.keep, asked.tokens)
    table = asked.out / ("full.csv" if asked.full else "quick.csv")
    depth = lay(*where).checkpoint.depth
    if asked.spread:
        layouts = chosen(asked.out / "quick.csv", asked.spread)
    elif asked.like is not None:
        quick = read(asked.out / "quick.csv")
        layouts = sorted({row["layout"] for row in quick if int(row["seed"]) == asked.like})
    else:
        layouts = [str(layout) for layout in all_layouts(depth, asked.keep)]
    random.Random(0).shuffle(layouts)
    done = {(row["layout"], int(row["seed"])) for row in read(table)}
    todo = [
        (layout, seed)
        for seed in map(int, asked.seeds.split(","))
        for layout in layouts
        if (layout, seed) not in done
    ]
    print(f"{len(todo)} runs to do, {len(done)} done", flush=True)
    with WorkerPool(available_cores()) as crew:
        waiting = [crew.start(run, where, layout, seed, asked.full) for layout, seed in todo]
        for number, wait in enumerate(waiting, 1):
            rows = wait()
            append(table, rows)
            layout, seed, *_, accuracy, _, seconds = rows[-1]
            print(f"{number} {layout} seed {seed} {accuracy} {seconds} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.nice(19)
    main()
