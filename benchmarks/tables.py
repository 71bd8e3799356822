"""What an exhaustive table knows, as a world in which searches can be replayed.

    python benchmarks/tables.py studies/exhaustive-mr-12-shc-keep6

One model is fitted to all rows: quick and full budget, accuracy and loss, all seeds. The truth of a
layout is its posterior mean accuracy under the full budget and no seed. `truth.csv` has it for all
layouts, with what the other budgets are expected to show; `model.json` what a seed and noise do. In
a replay a run comes out as the model has it: expectation, what its seed does to layouts that are
alike, and noise.
"""

import argparse
import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import correlation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.writing import write_whole
from autoprune.layouts.layout import Layout
from autoprune.search.kernel import Kernel
from autoprune.search.run import Run, Seen
from autoprune.search.runs import Runs, coded
from autoprune.search.space import flags_of, grid, layout_of, rank
from autoprune.search.surrogate import Surrogate

Values = NDArray[np.float64]

QUICK, FULL = 0.3, 1.0  # 3 and 10 epochs, as shares of the full budget
LEVELS = ("quick_loss", "full_loss", "quick_accuracy", "full_accuracy")
_FEWEST = 10  # layouts that two groups of runs must share
_LEARNT = 0.3  # of the layouts with one run: enough for the few parameters of the kernel


def read(folder: Path) -> list[Seen]:
    """Return the last check of each run in a folder's tables; qualities in points."""
    last: dict[Run, Seen] = {}
    for name, fidelity in (("quick.csv", QUICK), ("full.csv", FULL)):
        with (folder / name).open(newline="") as lines:
            for row in csv.DictReader(lines):
                run = Run(Layout.parse(row["layout"]), int(row["seed"]), fidelity)
                quality, loss = float(row["validation_accuracy"]), float(row["validation_loss"])
                last[run] = Seen(run, 100 * quality, loss)
    return list(last.values())


def fit(seen: list[Seen]) -> Surrogate:
    """Fit the model that tells noise, seed, budget and truth apart."""
    several = {one.run.layout for one in seen if one.run.seed}
    draw = random.Random(0)
    part = [one for one in seen if one.run.layout in several or draw.random() < _LEARNT]
    return Surrogate.fit(_runs(seen), _runs(part))


def _runs(seen: list[Seen]) -> Runs:
    return Runs(
        flags_of([one.run.layout for one in seen]),
        np.array([one.quality for one in seen]),
        np.array([one.run.fidelity for one in seen]),
        seeds=np.array([one.run.seed for one in seen]),
        losses=np.array([one.loss for one in seen]),
    )


def write(folder: Path) -> None:
    """Write what the tables of `folder` tell."""
    seen = read(folder)
    model = fit(seen)
    first = seen[0].run.layout
    space = grid(first.depth, len(first.keep))
    std = model.predict(space)[1]
    shown = [model.expect(space, level) for level in range(len(LEVELS))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", "truth", "std", *LEVELS[:-1]])
    for place, row in enumerate(space):
        values = [shown[-1][place], std[place], *(level[place] for level in shown[:-1])]
        writer.writerow([str(layout_of(row)), *(round(float(value), 4) for value in values)])
    write_whole(folder / "truth.csv", out.getvalue())
    kernel = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in asdict(model.kernel).items()
    }
    told = {"runs": len(seen), "levels": LEVELS, "kernel": kernel, "scales": [*model.unit.scales]}
    write_whole(folder / "model.json", json.dumps(told, indent=1) + "\n")


@dataclass(frozen=True)
class World:
    """All layouts of one depth and keep: their truth, and what runs of them come out as."""

    folder: Path

    @cached_property
    def _table(self) -> dict[str, Values]:
        with (self.folder / "truth.csv").open(newline="") as lines:
            rows = sorted(csv.DictReader(lines), key=lambda row: rank(Layout.parse(row["layout"])))
        names = ("truth", *LEVELS[:-1])
        table = {name: np.array([float(row[name]) for row in rows]) for name in names}
        return table | {LEVELS[-1]: table["truth"]}

    @cached_property
    def _model(self) -> tuple[Kernel, Values]:
        told = json.loads((self.folder / "model.json").read_text())
        kernel: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in told["kernel"].items()
        }
        return Kernel(**kernel), np.array(told["scales"])

    @cached_property
    def _seen(self) -> list[Seen]:
        return read(self.folder)

    @cached_property
    def _root(self) -> Values:
        """A root of the covariance of what layers do, to draw a seed's effects with."""
        codes = coded(grid(self.depth, self.keep))
        kernel, _ = self._model
        near = np.exp(-(1.0 - codes @ codes.T) / kernel.reach**2)
        whole = kernel.additive * (codes @ codes.T) + kernel.joint * near
        return np.asarray(np.linalg.cholesky(whole + 1e-8 * np.eye(len(codes))), dtype=np.float64)

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self._seen[0].run.layout.depth

    @property
    def keep(self) -> int:
        """How many of them are kept."""
        return len(self._seen[0].run.layout.keep)

    @property
    def truth(self) -> Values:
        """The truth of all layouts in the order of `grid`: (layouts,) in points."""
        return self._table["truth"]

    def regret(self, layout: Layout) -> float:
        """Return how many points of truth `layout` is below the best."""
        return float(self.truth.max() - self.truth[rank(layout)])

    def parts(self, level: int) -> str:
        """Say what a run's figure at `level` is made of, in standard deviations of its unit."""
        kernel, scales = self._model
        layers, squared = kernel.additive + kernel.joint, kernel.coupling[level] ** 2
        variances = {
            "truth": squared * layers,
            "this budget's own": kernel.own[level] * layers,
            "the seed's, by layout": squared * kernel.drift * layers,
            "the seed's, for all": squared * kernel.shift,
            "noise": kernel.noise[level],
        }
        size = abs(scales[level])
        told = ", ".join(f"{name} {size * var**0.5:.3g}" for name, var in variances.items())
        return f"{LEVELS[level]}: {told}"

    def measure(self, run: Run, replay: int) -> Seen:
        """Return what a run comes out as, the same whenever it is asked for in one replay."""
        kernel, scales = self._model
        full, place = int(run.fidelity == FULL), rank(run.layout)
        rng = np.random.default_rng((replay, run.seed, full))
        effects, shift = rng.normal(size=(2, len(self._root))), rng.normal(size=2)
        noise = np.random.default_rng((replay, run.seed, full, place)).normal(size=2)
        alone = np.sqrt(kernel.drift) * (effects @ self._root[place])
        alone += np.sqrt(kernel.shift) * shift
        seen = []
        for look, level in enumerate((full, 2 + full)):
            mine, also = (_tied(both, kernel.tie, look) for both in (alone, noise))
            off = kernel.coupling[level] * mine + np.sqrt(kernel.noise[level]) * also
            seen.append(float(self._table[LEVELS[level]][place] + off * scales[level]))
        return Seen(run, seen[1], seen[0])

    def rows(self, replay: int) -> Callable[[Run], Seen]:
        """Return a measure that takes a layout's rows one after the other, by rising seed.

        What the table lacks comes out as in `measure`.
        """
        left: dict[tuple[Layout, float], list[Seen]] = {}
        for one in sorted(self._seen, key=lambda one: -one.run.seed):
            left.setdefault((one.run.layout, one.run.fidelity), []).append(one)

        def measure(run: Run) -> Seen:
            rows = left.get((run.layout, run.fidelity))
            if not rows:
                return self.measure(run, replay)
            row = rows.pop()
            return Seen(run, row.quality, row.loss)

        return measure


def _tied(both: Values, tie: float, look: int) -> float:
    """Return the first of two normals, or one that correlates with it by `tie`."""
    return float(both[0] if look == 0 else tie * both[0] + np.sqrt(1 - tie**2) * both[1])


def agreements(folder: Path) -> list[str]:
    """Say how far single runs foretell others of the same layouts, and the truth."""
    groups: dict[tuple[float, int], dict[Layout, Seen]] = {}
    for one in read(folder):
        groups.setdefault((one.run.fidelity, one.run.seed), {})[one.run.layout] = one
    said = []
    for first, second in combinations(sorted(groups), 2):
        both = sorted(groups[first].keys() & groups[second].keys(), key=lambda one: one.keep)
        if len(both) < _FEWEST:
            continue
        left, right = ([groups[key][layout] for layout in both] for key in (first, second))
        looks: dict[str, Callable[[Seen], float]] = {
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
