"""Exhaustive table: train every layout of a model on a task, and write the scores of each check.

    python benchmarks/search/exhaustive.py MODEL TASK DATA_DIR --keep 6 --out FOLDER
    ... --full --seeds 3,4 --spread 60      some layouts at the full budget
    ... --full --seeds 3,4 --as 2           those that quick.csv has with that seed
    ... --tokens 32                         texts cut shorter than a search would
    ... --epochs 1 --full-epochs 4 --learning-rate 2e-4     other budgets

Searches are judged by this table, so unlike a search it reads the test split too. One CSV for each
budget: a row for each check of each run. The fixed strategies come first, for every search tries
them. The order of the others is drawn once, so that a table that is not complete is a fair sample.
`--spread N` takes N layouts whose scores in quick.csv on the first seed are evenly spread. After
Ctrl-C or a kill the current runs are lost; the same command resumes.
"""

import argparse
import csv
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.loop import evaluation_steps, predict_logits, train
from autoprune.training.problem_types import SINGLE_LABEL
from autoprune.training.workers import WorkerPool, available_cores

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


class Study(NamedTuple):
    """What a table is of; None stands for the defaults of a search."""

    model: str
    task: str
    data_dir: str
    keep: int
    tokens: int | None = None
    epochs: int = 3
    full_epochs: int | None = None
    learning_rate: float | None = None


_experiments: dict[Study, Experiment] = {}


def measure_layout(study: Study, layout: str, seed: int, full: bool) -> list[Row]:
    """Return a row for each check of one run; `seconds` are processor time of the training."""
    experiment = load_experiment(study)
    budget = experiment.full if full else experiment.quick
    evaluator, rows = experiment.evaluator(budget), list[Row]()
    seconds, started = 0.0, time.process_time()
    state = evaluator._start(Layout.parse(layout), seed)
    train_rows, device = experiment.inputs.train, experiment.device
    for step in train(state, train_rows, evaluator.loss, budget, seed, device):
        if step not in evaluation_steps(budget):
            continue
        seconds += time.process_time() - started
        scores = []
        for name, encoded in (
            ("validation", experiment.inputs.validation),
            ("test", experiment.inputs.test),
        ):
            logits = predict_logits(state.model, encoded, device, state.micro_batcher)
            scores.append(SINGLE_LABEL.score(logits, encoded.labels, "accuracy", name, seed, 0.0))
        validation, test = scores
        figures = (
            round(validation.quality, 5),
            round(validation.loss, 5),
            round(test.quality, 5),
            round(test.loss, 5),
        )
        rows.append((layout, seed, step, *figures, round(seconds, 2)))
        started = time.process_time()
    return rows


def load_experiment(study: Study) -> Experiment:
    """Load a study, once in a process."""
    if study not in _experiments:
        values = {name: value for name, value in study._asdict().items() if value is not None}
        config = StudyConfig.from_options(strategies=("top",), **values)
        _experiments[study] = build_experiment(config, RunOptions())
    return _experiments[study]


def spread_layouts(quick: Path, number: int) -> list[str]:
    """Return `number` layouts evenly spread over the last validation accuracy in `quick`.

    Only its first seed counts: with others the spread would change as the table grows.
    """
    rows = list(read_rows(quick))
    rows = [row for row in rows if row["seed"] == rows[0]["seed"]]
    last = {row["layout"]: float(row["validation_accuracy"]) for row in rows}
    ranked = sorted(last, key=lambda layout: (last[layout], layout))
    return [ranked[round(i * (len(ranked) - 1) / (number - 1))] for i in range(number)]


def read_rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table; none where there is no file."""
    if table.exists():
        with table.open(newline="") as lines:
            yield from csv.DictReader(lines)


def append_rows(table: Path, rows: Sequence[Row]) -> None:
    """Append the rows of a run in one write, the header first."""
    table.parent.mkdir(parents=True, exist_ok=True)
    empty = not table.exists()
    with table.open("a", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerows([COLUMNS, *rows] if empty else rows)


def main() -> None:
    """Train what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("data_dir")
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--full", action="store_true")
    subset = parser.add_mutually_exclusive_group()
    subset.add_argument("--spread", type=int)
    subset.add_argument("--as", dest="like", type=int)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--full-epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    arguments = parser.parse_args()

    study = Study(**{name: getattr(arguments, name) for name in Study._fields})
    table = arguments.out / ("full.csv" if arguments.full else "quick.csv")
    depth = load_experiment(study).checkpoint.depth
    if arguments.spread:
        layouts = spread_layouts(arguments.out / "quick.csv", arguments.spread)
    elif arguments.like is not None:
        quick = read_rows(arguments.out / "quick.csv")
        layouts = sorted({row["layout"] for row in quick if int(row["seed"]) == arguments.like})
    else:
        layouts = [str(layout) for layout in all_layouts(depth, arguments.keep)]
    random.Random(0).shuffle(layouts)
    fixed = {str(strategy(depth, arguments.keep)) for strategy in STRATEGIES.values()}
    layouts.sort(key=lambda layout: layout not in fixed)
    done = {(row["layout"], int(row["seed"])) for row in read_rows(table)}
    to_do = [
        (layout, seed)
        for seed in map(int, arguments.seeds.split(","))
        for layout in layouts
        if (layout, seed) not in done
    ]
    print(f"{len(to_do)} runs to do, {len(done)} done", flush=True)
    with WorkerPool(available_cores()) as pool:
        waiting = [
            pool.start(measure_layout, study, layout, seed, arguments.full)
            for layout, seed in to_do
        ]
        for number, wait in enumerate(waiting, 1):
            rows = wait()
            append_rows(table, rows)
            layout, seed, *_, accuracy, _, seconds = rows[-1]
            print(f"{number} {layout} seed {seed} {accuracy} {seconds} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.nice(19)
    from exhaustive import main as main_of_module  # processes find its functions by this name

    main_of_module()
