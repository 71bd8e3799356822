"""Fit one model to all runs of an exhaustive table, and write the ground truth of each layout.

    python benchmarks/search/fit_ground_truth.py studies/exhaustive-mr-12-shc-keep6

Quick and full budget, accuracy and loss, all seeds. The ground truth of a layout is its posterior
mean accuracy with the full budget and no seed. `truth.csv` has it for all layouts, with what the
other budgets are expected to show; `model.json` has the effects of seed and noise.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import correlation, stdev

import numpy as np

from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout
from autoprune.search.search_space import all_flags, flags_to_layout
from autoprune.search.trial import Observation
from replay_tables import FULL, KERNEL_FIELDS, LEVELS, World, fit_model, read_runs

_MIN_LAYOUTS = 10  # that two groups of runs must share


def write_ground_truth(folder: Path) -> None:
    """Fit the model to the tables of `folder`, and write `truth.csv` and `model.json`."""
    runs = read_runs(folder)
    model = fit_model(runs)
    layout = runs[0].run.layout
    space = all_flags(layout.depth, len(layout.keep))
    std = model.predict(space)[1]
    expected = [model.predict_output(space, level) for level in range(len(LEVELS))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", "truth", "std", *LEVELS[:-1]])
    for index, row in enumerate(space):
        values = [expected[-1][index], std[index], *(level[index] for level in expected[:-1])]
        writer.writerow([str(flags_to_layout(row)), *(round(float(value), 4) for value in values)])
    write_atomic(folder / "truth.csv", out.getvalue())
    fields = {key: getattr(model.kernel, name) for key, name in KERNEL_FIELDS.items()}
    kernel = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in fields.items()
    }
    scales = [*model.scaler.scales]
    content = {"runs": len(runs), "levels": LEVELS, "kernel": kernel, "scales": scales}
    write_atomic(folder / "model.json", json.dumps(content, indent=1) + "\n")


def agreements(folder: Path) -> list[str]:
    """Say how well single runs predict others of the same layouts."""
    groups = _groups(folder)
    scores: dict[str, Callable[[Observation], float]] = {
        "accuracy": lambda run: run.quality,
        "loss": lambda run: -run.loss,
    }
    lines = []
    for first, second in combinations(sorted(groups), 2):
        layouts = sorted(
            groups[first].keys() & groups[second].keys(), key=lambda layout: layout.keep
        )
        if len(layouts) < _MIN_LAYOUTS:
            continue
        for first_name, first_score in scores.items():
            for second_name, second_score in scores.items():
                found = correlation(
                    [first_score(groups[first][layout]) for layout in layouts],
                    [second_score(groups[second][layout]) for layout in layouts],
                )
                lines.append(
                    f"{first_name} of {_group_name(first)} and {second_name} of "
                    f"{_group_name(second)}, {len(layouts)} layouts: {found:+.2f}"
                )
    return lines


def spreads(folder: Path) -> list[str]:
    """Say how much single runs differ between layouts, and between seeds of the same layouts."""
    groups = _groups(folder)
    lines = []
    for group, runs in sorted(groups.items()):
        if len(runs) >= _MIN_LAYOUTS:
            spread = stdev(run.quality for run in runs.values())
            lines.append(f"{_group_name(group)}, {len(runs)} layouts: {spread:.2f}")
    for first, second in combinations(sorted(groups), 2):
        layouts = groups[first].keys() & groups[second].keys()
        if first[0] == second[0] and len(layouts) >= _MIN_LAYOUTS:
            differences = [
                groups[first][layout].quality - groups[second][layout].quality for layout in layouts
            ]
            lines.append(
                f"noise of a run, {_group_name(first)} and {_group_name(second)}, {len(layouts)} "
                f"layouts: {stdev(differences) / 2**0.5:.2f}"
            )
    return lines


def _groups(folder: Path) -> dict[tuple[float, int], dict[Layout, Observation]]:
    """Return the last observation of each run, by budget and seed, and by layout."""
    groups: dict[tuple[float, int], dict[Layout, Observation]] = {}
    for run in read_runs(folder):
        groups.setdefault((run.run.fidelity, run.run.seed), {})[run.run.layout] = run
    return groups


def _group_name(group: tuple[float, int]) -> str:
    return f"{'full' if group[0] == FULL else 'quick'} runs on seed {group[1]}"


def main() -> None:
    """Write the ground truth, and print how well single runs agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_ground_truth(folder)
    print("Correlation of (loss with its sign turned)", *agreements(folder), sep="\n")
    world = World(folder)
    print("Standard deviations of accuracy, points", *spreads(folder), sep="\n")
    print(
        "Standard deviations in the fitted model",
        *map(world.variance_parts, range(len(LEVELS))),
        sep="\n",
    )
    truth = world.truth
    print(f"truth of {len(truth)} layouts: standard deviation {truth.std():.2f} points")
    print(f"the best is {truth.max() - truth.mean():.2f} above the mean")


if __name__ == "__main__":
    main()
