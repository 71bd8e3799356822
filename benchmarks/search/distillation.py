r"""Distillation: what students of one teacher reach, by layout, kind, texts without labels, steps.

    python benchmarks/search/distillation.py MODEL TASK DATA_DIR --unlabelled FILE --out FOLDER \
        --runs 12:0-2/none/4 12:0-2/logits/8 12:0-2/logits+unlabelled/8 --seeds 1 2
    ... --show          no training: mean quality on validation and test of each run, and where
                        three seeds are there what it is above the full model of --against STUDY
    ... --as-trials TABLE   no training: how well these runs rank layouts, on validation, and how
                        well those of exhaustive.py do, without distillation, on the same seeds

A run is LAYOUT/KIND/EPOCHS: `none`, `logits` or `hidden`, with `+unlabelled` for texts without
labels as well, and `+t=T` and `+w=W` for another temperature than 2 and weight than 0.7. EPOCHS are
passes over the train rows; a run makes as many steps with texts without labels. The teachers are
the full model with the seeds 1, 2 and 3, mean of logits. Runs are judged by the table, in the
task's metric, so unlike a search it reads the test split too. One JSON line for each run; after
Ctrl-C or a kill the same command resumes.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import sem, spearmanr
from scipy.stats import t as student

from autoprune.evaluation.entrants import predict_test
from autoprune.evaluation.study_files import entrant_runs, read_study
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import label_array
from autoprune.training.budget import Budget, Distillation
from autoprune.training.devices import describe_device
from autoprune.training.distillation import TeacherTargets, predict_targets
from exhaustive import read_rows

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


def measure(experiment: Experiment, run: str, seed: int, rate: float) -> dict[str, Any]:
    """Return what the JSON line of a run holds; `seconds` are processor time."""
    layout, budget = budget_of(experiment, run, rate)
    evaluator, started = experiment.evaluator(budget), time.process_time()
    trained = evaluator.train(layout, seed)
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
    }


def show(runs: list[dict[str, Any]], study: Path | None) -> None:
    """Print means in percent and, against the full model, Student's 95 % interval over seeds."""
    full: dict[int, float] = {}
    if study:
        records = entrant_runs(read_study(study), "full")
        full = {seed: record.score("test").quality for seed, record in records.items()}
    by_run: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for run in runs:
        by_run[run["run"]][run["seed"]] = run["validation"], run["test"]
    for name, seeds in sorted(by_run.items()):
        means = [100 * statistics.fmean(values) for values in zip(*seeds.values(), strict=True)]
        line = f"{name:40} {means[0]:5.1f} {means[1]:5.1f}  seeds {len(seeds)}"
        shared = full.keys() & seeds.keys()
        differences = [100 * (seeds[seed][1] - full[seed]) for seed in shared]
        if len(differences) >= 3:
            mean, error = statistics.fmean(differences), sem(differences)
            low, high = student.interval(0.95, len(differences) - 1, mean, error)
            line += f"  {mean:+.1f} ({low:+.1f} to {high:+.1f}) against full"
        print(line)


def show_as_trials(runs: list[dict[str, Any]], table: Path) -> None:
    """Print what runs on two seeds tell of the full runs in `table`, and without distillation.

    `noise` is the standard deviation of a run between seeds, `layouts` that between layouts without
    the noise, in points. Correlations are Spearman's, means over the seeds.
    """
    kinds: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        layout, kind, epochs = run["run"].split("/")
        kinds[f"{kind}/{epochs}"][run["seed"]][layout] = 100 * run["validation"]
    quick, full = (last_scores(table / f"{name}.csv") for name in ("quick", "full"))
    [target] = [scores for scores in full.values() if len(scores) == max(map(len, full.values()))]
    for kind, seeds in kinds.items():
        if len(seeds) < 2:
            continue
        layouts = sorted(set(target).intersection(*seeds.values()))
        for name, scores in (("none, of the table", quick), (kind, seeds)):
            values = np.array([[scores[seed][layout] for layout in layouts] for seed in seeds])
            noise = np.sqrt(
                (values - values.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean()
            )
            spread = np.sqrt(max(values.mean(axis=0).var(ddof=1) - noise**2 / len(seeds), 0))
            truth = [target[layout] for layout in layouts]
            between = [spearmanr(*pair).statistic for pair in combinations(values, 2)]
            ahead = [spearmanr(row, truth).statistic for row in values]
            print(
                f"{name:22} {len(layouts)} layouts, mean {values.mean():.1f}, noise {noise:.2f}, "
                f"layouts {spread:.2f}, with another seed {np.mean(between):+.2f}, with full runs "
                f"{np.mean(ahead):+.2f}"
            )


def last_scores(table: Path) -> dict[int, dict[str, float]]:
    """Return the validation accuracy at the end of each run, in percent, by seed and layout."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    for row in read_rows(table):  # the checks of a run in order
        scores[int(row["seed"])][row["layout"]] = 100 * float(row["validation_accuracy"])
    return scores


def main() -> None:
    """Do the runs that the file lacks, or show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--unlabelled", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--teacher-epochs", type=int, default=4)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--as-trials", type=Path, help="folder of exhaustive.py")
    parser.add_argument("--against", type=Path, help="study whose full model has the same seeds")
    arguments = parser.parse_args()
    table = arguments.out / "distillation.jsonl"
    lines = table.read_text().splitlines() if table.exists() else []
    runs = [json.loads(line) for line in lines]
    if arguments.show:
        show(runs, arguments.against)
        return
    if arguments.as_trials:
        show_as_trials(runs, arguments.as_trials)
        return
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
        measured = measure(experiment, run, seed, rate)
        with table.open("a") as out:
            out.write(json.dumps(measured) + "\n")
        print(f"{run} seed {seed} {measured['validation']} {measured['test']}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.nice(19)
    main()
