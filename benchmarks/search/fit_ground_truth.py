"""Fit one model to all runs of an exhaustive table, and write the truth that it tells.

    python benchmarks/search/fit_ground_truth.py studies/exhaustive-mr-12-shc-keep6

Quick and full budget, accuracy and loss, all seeds. The truth of a layout is its posterior mean
accuracy under the full budget and no seed. `truth.csv` has it for all layouts, with what the other
budgets are expected to show; `model.json` what a seed and noise do.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import correlation

import numpy as np

from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout
from autoprune.search.search_space import all_flags, flags_to_layout
from autoprune.search.trial import Observation
from replay_tables import FULL, LEVELS, World, fit, read

_FEWEST = 10  # layouts that two groups of runs must share


def write(folder: Path) -> None:
    """Write what the tables of `folder` tell."""
    seen = read(folder)
    model = fit(seen)
    first = seen[0].run.layout
    space = all_flags(first.depth, len(first.keep))
    std = model.predict(space)[1]
    shown = [model.expect(space, level) for level in range(len(LEVELS))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", "truth", "std", *LEVELS[:-1]])
    for place, row in enumerate(space):
        values = [shown[-1][place], std[place], *(level[place] for level in shown[:-1])]
        writer.writerow([str(flags_to_layout(row)), *(round(float(value), 4) for value in values)])
    write_atomic(folder / "truth.csv", out.getvalue())
    kernel = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in asdict(model.kernel).items()
    }
    told = {"runs": len(seen), "levels": LEVELS, "kernel": kernel, "scales": [*model.unit.scales]}
    write_atomic(folder / "model.json", json.dumps(told, indent=1) + "\n")


def agreements(folder: Path) -> list[str]:
    """Say how far single runs foretell others of the same layouts, and the truth."""
    groups: dict[tuple[float, int], dict[Layout, Observation]] = {}
    for one in read(folder):
        groups.setdefault((one.run.fidelity, one.run.seed), {})[one.run.layout] = one
    said = []
    for first, second in combinations(sorted(groups), 2):
        both = sorted(groups[first].keys() & groups[second].keys(), key=lambda one: one.keep)
        if len(both) < _FEWEST:
            continue
        left, right = ([groups[key][layout] for layout in both] for key in (first, second))
        looks: dict[str, Callable[[Observation], float]] = {
            "accuracy": lambda one: one.quality,
            "loss": lambda one: -one.loss,
        }
        said += [
            f"{mine} of {_name(first)} and {theirs} of {_name(second)}, {len(both)} layouts: "
            f"{correlation([see(one) for one in left], [also(one) for one in right]):+.2f}"
            for mine, see in looks.items()
            for theirs, also in looks.items()
        ]
    return said


def _name(group: tuple[float, int]) -> str:
    return f"{'full' if group[0] == FULL else 'quick'} runs on seed {group[1]}"


def main() -> None:
    """Write the truth, and print how far single runs agree."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    write(folder)
    print("Correlation of (loss with its sign turned)", *agreements(folder), sep="\n")
    world = World(folder)
    print("Standard deviations", *(world.parts(level) for level in range(len(LEVELS))), sep="\n")
    truth = world.truth
    print(f"truth of {len(truth)} layouts: standard deviation {truth.std():.2f} points")
    print(f"the best is {truth.max() - truth.mean():.2f} above the mean")


if __name__ == "__main__":
    main()
