r"""Distillation: what students of one teacher reach, by layout, kind, texts without labels, steps.

    python benchmarks/search/distillation.py MODEL TASK DATA_DIR --unlabelled FILE --out FOLDER \
        --runs 12:0-2/none/4 12:0-2/logits/8 12:0-2/logits+unlabelled/8 --seeds 1 2

A run is LAYOUT/KIND/EPOCHS: `none`, `logits` or `hidden`, with `+unlabelled` for texts without
labels as well, and `+t=T` and `+w=W` for another temperature than 2 and weight than 0.7. EPOCHS are
passes over the train rows; a run makes as many steps with texts without labels. The teachers are
the full model with the seeds 1, 2 and 3, mean of logits. Runs are judged by the table, in the
task's metric, so unlike a search it reads the test split too. `--history` scores validation after
each pass as well, and keeps it. One JSON line for each run, in FOLDER/distillation.jsonl, which
distillation_results.py reads; after Ctrl-C or a kill the same command resumes.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoprune.evaluation.entrants import predict_test
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import label_array
from autoprune.training.budget import Budget, Distillation
from autoprune.training.devices import describe_device
from autoprune.training.distillation import TeacherTargets, predict_targets

TEACHER_SEEDS = (1, 2, 3)
LINES = 6000  # of the file of texts without labels


def budget_of(experiment: Experiment, run: str, rate: float) -> tuple[Layout, Budget]:
    """Return layout and budget of a run in its text form."""
    layout, kind, epochs = run.split("/")
    name, *options = kind.split("+")
    values = dict(option.split("=") for option in options if "=" in option)
    settings = Distillation(
        kind=name,
        teacher="benchmark",
        temperature=float(values.get("t", 2)),
        weight=float(values.get("w", 0.7)),
        unlabelled="yes" if "unlabelled" in options else "",
    )
    budget = experiment.timed
    steps = int(epochs) * budget.steps // budget.checks
    budget = replace(budget, steps=steps, checks=1, learning_rate=rate)
    return Layout.parse(layout), replace(budget, distillation=None if name == "none" else settings)


def teach(experiment: Experiment, folder: Path, epochs: int, rate: float) -> TeacherTargets:
    """Return the mean of the teachers, each trained where it has no file."""
    targets, inputs = [], experiment.inputs
    for seed in TEACHER_SEEDS:
        path = folder / f"teacher-{seed}.safetensors"
        stored = TeacherTargets.read(path, "benchmark")
        if stored is None:
            layout, budget = budget_of(
                experiment, f"{Layout.full(experiment.depth)}/none/{epochs}", rate
            )
            trained = experiment.evaluator(budget).train(layout, seed)
            stored = predict_targets(
                trained.model, inputs.with_unlabelled, len(inputs.train), True, experiment.device
            )
            stored.write(path, "benchmark")
            print(f"teacher {seed}: {trained.score.quality:.4f}", flush=True)
        targets.append(stored)
    return TeacherTargets.average(targets)


def measure(
    experiment: Experiment, run: str, seed: int, rate: float, history: bool
) -> dict[str, Any]:
    """Return what the JSON line of a run holds; `seconds` are processor time."""
    layout, budget = budget_of(experiment, run, rate)
    passes = []
    if history:
        budget = replace(budget, checks=int(run.rpartition("/")[2]))
    evaluator, started = experiment.evaluator(budget), time.process_time()
    trained = evaluator.train(
        layout, seed, (lambda quality, _: passes.append(round(quality, 5))) if history else None
    )
    seconds = time.process_time() - started
    logits = predict_test(evaluator, trained, experiment.inputs.test).logits
    kept, metric = np.array(experiment.test.kept), experiment.task.metric
    labels = label_array(experiment.test.rows.labels)
    test = experiment.problem_type.score(logits[kept], labels[kept], metric, "test", seed, seconds)
    return {
        "run": run,
        "seed": seed,
        "validation": round(trained.score.quality, 5),
        "loss": round(trained.score.loss, 5),
        "test": round(test.quality, 5),
        "seconds": round(seconds, 1),
        "device": describe_device(experiment.device),
        **({"history": passes} if history else {}),
    }


def main() -> None:
    """Do the runs that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--unlabelled", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--teacher-epochs", type=int, default=4)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    arguments = parser.parse_args()
    table = arguments.out / "distillation.jsonl"
    lines = table.read_text().splitlines() if table.exists() else []
    runs = [json.loads(line) for line in lines]
    arguments.out.mkdir(parents=True, exist_ok=True)
    texts = arguments.out / "unlabelled.txt"
    texts.write_text("\n".join(arguments.unlabelled.read_text().splitlines()[:LINES]))
    config = StudyConfig.from_options(
        model=arguments.model,
        task=arguments.task,
        keep=6,
        strategies=("top",),
        data_dir=arguments.data_dir,
        epochs=1,
        tokens=arguments.tokens,
        distill="hidden",
        unlabelled=texts,
    )
    experiment = build_experiment(config, RunOptions())
    rate = arguments.learning_rate
    targets = teach(experiment, arguments.out, arguments.teacher_epochs, rate)
    experiment = replace(experiment, targets=targets)
    done = {(run["run"], run["seed"]) for run in runs}
    for seed, run in product(arguments.seeds, arguments.runs):
        if (run, seed) in done:
            continue
        measured = measure(experiment, run, seed, rate, arguments.history)
        with table.open("a") as out:
            out.write(json.dumps(measured) + "\n")
        print(f"{run} seed {seed} {measured['validation']} {measured['test']}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.nice(19)
    main()
