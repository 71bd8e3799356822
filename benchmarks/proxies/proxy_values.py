"""Write the score of each proxy for every layout, and its cost, for replays of searches.

    python benchmarks/proxies/proxy_values.py MODEL TASK DATA_DIR --keep 6 --out FOLDER

proxies.csv: layout, proxy, value (higher is better). proxies.json: for each proxy the processor
time in seconds, and in fine-tunes of one candidate with the full and with the quick budget,
measured in the same run. What is on file is kept; delete a file to measure again. With a table of
quick runs in FOLDER (exhaustive.py), prints how each proxy ranks its layouts: Spearman's rank
correlation with validation accuracy and loss, and 95 % intervals by the bootstrap.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap, spearmanr

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.layouts.layout import all_layouts
from autoprune.training.proxies import PROXIES
from experiments import build_default_experiment

SEED = 0


def main() -> None:
    """Measure the proxies that are not on file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--keep", type=int, required=True)
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
    table, costs = arguments.out / "proxies.csv", arguments.out / "proxies.json"
    known = json.loads(costs.read_text()) if costs.exists() else {}
    for name, proxy in PROXIES.items():
        if name in known:
            continue
        started = time.process_time()
        values = proxy(evaluator, layouts, SEED)
        seconds = time.process_time() - started
        started = time.process_time()
        evaluator.train(experiment.strategies["top"], SEED)
        quick = time.process_time() - started
        full = quick * experiment.full.steps / experiment.quick.steps
        arguments.out.mkdir(parents=True, exist_ok=True)
        fresh = not table.exists()
        with table.open("a", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerows([("layout", "proxy", "value")] if fresh else [])
            writer.writerows(
                (str(layout), name, f"{value:.6g}")
                for layout, value in zip(layouts, values, strict=True)
            )
        known[name] = {
            "seconds": round(seconds, 1),
            "full_fine_tunes": round(seconds / full, 3),
            "quick_fine_tunes": round(seconds / quick, 3),
        }
        costs.write_text(json.dumps(known, indent=1) + "\n")
        print(name, known[name], flush=True)
    if (arguments.out / "quick.csv").exists():
        print_correlations(arguments.out)


def print_correlations(folder: Path) -> None:
    """Print how the proxies on file rank the layouts whose last check of seed 0 is on file."""
    with (folder / "quick.csv").open() as file:
        runs = {run["layout"]: run for run in csv.DictReader(file) if run["seed"] == "0"}
    values: dict[str, dict[str, float]] = {}
    with (folder / "proxies.csv").open() as file:
        for row in csv.DictReader(file):
            values.setdefault(row["proxy"], {})[row["layout"]] = float(row["value"])
    for name, of_layout in values.items():
        scores = np.array([of_layout[layout] for layout in runs])
        print(describe_ranking(name, scores, list(runs.values())))


def describe_ranking(
    name: str, scores: NDArray[np.float64], runs: Sequence[Mapping[str, str]]
) -> str:
    """Return in words how scores rank layouts; `runs` are their rows of a table, in that order."""
    accuracy, loss = (
        np.array([float(run[column]) for run in runs])
        for column in ("validation_accuracy", "validation_loss")
    )
    parts = [
        f"{what} {correlation(scores, of):+.2f} ({low:+.2f} to {high:+.2f})"
        for what, of in (("accuracy", accuracy), ("loss, its sign turned", -loss))
        for low, high in [correlation_interval(scores, of)]
    ]
    best = accuracy[np.argsort(-scores)[:10]].mean()
    return (
        f"{name}, {len(runs)} layouts: {'; '.join(parts)}; the ten that it ranks first have\n"
        f"  {best:.1%} on average, all of them {accuracy.mean():.1%}"
    )


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation."""
    return float(spearmanr(x, y).statistic)


def correlation_interval(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's rank correlation over draws of layouts."""
    found = bootstrap((x, y), correlation, paired=True, vectorized=False, n_resamples=2000, rng=0)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


if __name__ == "__main__":
    main()
