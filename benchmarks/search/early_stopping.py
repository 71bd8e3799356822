r"""Early stopping: what rules that look at the noise of validation would save and cost.

    python benchmarks/search/early_stopping.py MODEL TASK DATA_DIR --layouts top middle --out FILE
    ... --seeds 1 2 --epochs 10 --rate 2e-4      the full budget's seeds, passes, peak rate
    ... --show                          no training: what each rule would have done in FILE's runs

Each run trains to the end of the full budget; validation and test are scored after each pass. A
rule is then replayed on the validation scores alone: it stops a run after a pass, and takes the
best pass so far. `patience P` is autoprune's rule; with `margin M` an improvement counts only where
it is more than M standard errors of one validation score. One JSON line for each run is appended to
FILE; runs that it has are not repeated.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.loop import evaluation_steps, predict_logits, train

sys.path.append(str(Path(__file__).parents[1]))
from experiments import build_default_experiment

RULES = [
    (patience, margin) for patience in (1, 2, 3) for margin in (0.0, 0.5, 1.0)
]  # checks without an improvement, standard errors that count as one


def measure(
    experiment: Experiment, layout: Layout, seed: int, epochs: int, rate: float | None
) -> dict[str, Any]:
    """Train one run to its end; return what its JSON line holds."""
    steps = math.ceil(len(experiment.splits.train) / experiment.full.batch)
    budget = replace(experiment.full, steps=epochs * steps, checks=epochs, patience=None)
    if rate is not None:
        budget = replace(budget, learning_rate=rate)
    evaluator = experiment.evaluator(budget)
    state = evaluator._start(layout, seed)
    checks = []
    for step in train(
        state, experiment.inputs.train, evaluator.loss, budget, seed, experiment.device
    ):
        if step in evaluation_steps(budget):
            checks.append([_accuracy(experiment, state, name) for name in ("validation", "test")])
    return {
        "layout": str(layout),
        "seed": seed,
        "epochs": epochs,
        "learning_rate": budget.learning_rate,
        "rows": len(experiment.splits.validation),
        "checks": checks,
        "seconds": round(state.seconds(), 1),
    }


def _accuracy(experiment: Experiment, state: Any, name: str) -> float:
    split = getattr(experiment.inputs, name)
    logits = predict_logits(state.model, split, experiment.device, state.micro_batcher)
    right = experiment.problem_type.predict(logits) == split.labels
    if name == "test":
        right = right[list(map(bool, experiment.test.kept))]
    return round(float(right.mean()), 5)


def stopped(checks: Sequence[float], rows: int, patience: int, margin: float) -> tuple[int, int]:
    """Return how many passes a rule trains for, and which pass it takes, counted from 0."""
    best = counted = 0
    for index, quality in enumerate(checks):
        error = math.sqrt(checks[counted] * (1 - checks[counted]) / rows)
        if index and quality > checks[counted] + margin * error:
            counted = index
        if quality > checks[best]:
            best = index
        if index - counted >= patience:
            return index + 1, best
    return len(checks), best


def show(path: Path) -> None:
    """Print, for each number of passes and rule, the mean passes trained and the mean test."""
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    for epochs, rate in sorted({(run["epochs"], run["learning_rate"]) for run in runs}):
        chosen = [run for run in runs if (run["epochs"], run["learning_rate"]) == (epochs, rate)]
        print(f"{len(chosen)} runs of {epochs} passes, peak rate {rate:g}")
        ends = {"to the end, best": [_at_best(run) for run in chosen]}
        for patience, margin in RULES:
            results = []
            for run in chosen:
                validation = [check[0] for check in run["checks"]]
                passes, best = stopped(validation, run["rows"], patience, margin)
                results.append((passes, run["checks"][best][1]))
            ends[f"patience {patience}, margin {margin:g}"] = results
        for name, results in ends.items():
            trained = fmean(result[0] for result in results)
            test = fmean(result[1] for result in results)
            least = min(
                result[1] - whole[1]
                for result, whole in zip(results, ends["to the end, best"], strict=True)
            )
            print(
                f"  {name:24} {trained:5.1f} passes, test {100 * test:.2f}, "
                f"worst against the end {100 * least:+.1f}"
            )


def _at_best(run: dict[str, Any]) -> tuple[int, float]:
    validation = [check[0] for check in run["checks"]]
    return len(validation), run["checks"][validation.index(max(validation))][1]


def main() -> None:
    """Do the runs that the file lacks, and show all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("task", nargs="?")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--keep", type=int, default=6)
    parser.add_argument("--layouts", nargs="+", default=["top"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10])
    parser.add_argument("--rate", type=float, help="peak learning rate, else the default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if not options.show:
        experiment = build_default_experiment(
            options.model, options.task, options.data_dir, options.keep, workers=1
        )
        lines = options.out.read_text().splitlines() if options.out.exists() else []
        rate = options.rate or experiment.full.learning_rate
        known = {
            (run["layout"], run["seed"], run["epochs"], run["learning_rate"])
            for run in map(json.loads, lines)
        }
        for epochs in options.epochs:
            for seed in options.seeds:
                for name in options.layouts:
                    depth, keep = experiment.depth, experiment.keep
                    fixed = STRATEGIES.get(name)
                    layout = fixed(depth, keep) if fixed else Layout.parse(f"{depth}:{name}")
                    if (str(layout), seed, epochs, rate) in known:
                        continue
                    line = json.dumps(measure(experiment, layout, seed, epochs, options.rate))
                    with options.out.open("a") as file:
                        file.write(f"{line}\n")
                    print(line, flush=True)
    show(options.out)


if __name__ == "__main__":
    main()
