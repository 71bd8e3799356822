"""A world in which runs pause and go on, made of the checks that full runs had on their way.

    python benchmarks/pauses.py studies/exhaustive-mr-12-shc-keep6

A full run's third of ten checks is what the same run would have shown, had it paused there: its
learning rate is still high, which no quick run's is at its end. One model is fitted to all, quick
runs as a budget of their own, pauses and ends of the same runs tied. `pauses.csv` has what a pause
is expected to show of each layout, `pauses.json` what seeds and noise do. The truth is that of
`tables.py`.
"""

import argparse
import csv
import io
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import correlation
from typing import Any

import numpy as np

from autoprune.evidence.writing import write_whole
from autoprune.layouts.layout import Layout
from autoprune.search.kernel import Kernel
from autoprune.search.run import Run, Seen
from autoprune.search.space import grid, layout_of, rank
from tables import FULL, QUICK, Values, World, fit, read

_ANNEALED = QUICK - 0.001  # a quick run that ends there, beside one that pauses
LEVELS = ("pause_loss", "full_loss", "pause_accuracy", "full_accuracy")
_PLACES = (1, 2, 4, 5)  # of these among the levels of three budgets


def at_pause(folder: Path) -> list[Seen]:
    """Return what the full runs showed when a quick one's steps were made."""
    checks: dict[Run, list[Seen]] = {}
    with (folder / "full.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            run = Run(Layout.parse(row["layout"]), int(row["seed"]), QUICK)
            quality, loss = float(row["validation_accuracy"]), float(row["validation_loss"])
            checks.setdefault(run, []).append(Seen(run, 100 * quality, loss))
    return [seen[round(QUICK * len(seen)) - 1] for seen in checks.values()]


def write(folder: Path) -> None:
    """Fit the model and write what it tells."""
    ended = [
        replace(one, run=replace(one.run, fidelity=_ANNEALED)) if one.run.fidelity < FULL else one
        for one in read(folder)
    ]
    model = fit(ended + at_pause(folder))
    space = grid(ended[0].run.layout.depth, len(ended[0].run.layout.keep))
    loss, quality = (model.expect(space, _PLACES[place]) for place in (0, 2))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", LEVELS[0], LEVELS[2]])
    for place, row in enumerate(space):
        values = (round(float(one[place]), 4) for one in (loss, quality))
        writer.writerow([str(layout_of(row)), *values])
    write_whole(folder / "pauses.csv", out.getvalue())
    kernel = {
        name: value[[*_PLACES]].tolist() if isinstance(value, np.ndarray) else value
        for name, value in asdict(model.kernel).items()
    }
    scales = [float(model.unit.scales[place]) for place in _PLACES]
    told = {"levels": LEVELS, "kernel": kernel, "scales": scales}
    write_whole(folder / "pauses.json", json.dumps(told, indent=1) + "\n")


def agreements(folder: Path) -> list[str]:
    """Say how far what a pause shows foretells ends: that of the same run, and of other seeds."""
    ends = {(one.run.layout, one.run.seed): one for one in read(folder) if one.run.fidelity == FULL}
    seeds = sorted({seed for _, seed in ends})
    said = []
    for mine, theirs in product(seeds, seeds):
        both = [
            (one, ends[one.run.layout, theirs])
            for one in at_pause(folder)
            if one.run.seed == mine and (one.run.layout, theirs) in ends
        ]
        reached = [end.quality for _, end in both]
        quality = correlation([pause.quality for pause, _ in both], reached)
        loss = correlation([-pause.loss for pause, _ in both], reached)
        said.append(
            f"pauses on seed {mine} and accuracy of full runs on seed {theirs}, {len(both)} "
            f"layouts: accuracy {quality:+.2f}, loss {loss:+.2f}"
        )
    return said


@dataclass(frozen=True)
class Pausing(World):
    """Quick runs are full ones that pause; a run of the same layout and seed goes on from there."""

    @cached_property
    def _model(self) -> tuple[Kernel, Values]:
        told = json.loads((self.folder / "pauses.json").read_text())
        kernel: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in told["kernel"].items()
        }
        return Kernel(**kernel), np.array(told["scales"])

    @cached_property
    def _shown(self) -> dict[str, Values]:
        with (self.folder / "pauses.csv").open(newline="") as lines:
            rows = sorted(csv.DictReader(lines), key=lambda row: rank(Layout.parse(row["layout"])))
        shown = {name: np.array([float(row[name]) for row in rows]) for name in LEVELS[::2]}
        ends = {"full_loss": self._table["full_loss"], "full_accuracy": self.truth}
        return shown | ends

    def measure(self, run: Run, replay: int) -> Seen:
        """Return what a run shows at its pause or its end, which share their luck as fitted."""
        (kernel, scales), place, seen = self._model, rank(run.layout), list[float]()
        for level in (int(run.fidelity == FULL), 2 + int(run.fidelity == FULL)):
            draws = [np.random.default_rng((replay, run.seed, one)) for one in (9, level)]
            both = np.sqrt([kernel.tie, 1 - kernel.tie])  # the run's luck, this look's own
            effects = both @ [rng.normal(size=len(self._root)) for rng in draws]
            shift = both @ [rng.normal() for rng in draws]
            noise = both @ [
                np.random.default_rng((replay, run.seed, one, place)).normal() for one in (9, level)
            ]
            off = np.sqrt(kernel.drift) * (effects @ self._root[place])
            off = kernel.coupling[level] * (off + np.sqrt(kernel.shift) * shift)
            off += np.sqrt(kernel.noise[level]) * noise
            shown = self._shown[LEVELS[level]][self._place(run, replay)]
            seen.append(float(shown + off * scales[level]))
        return Seen(run, seen[1], seen[0])

    def _place(self, run: Run, replay: int) -> int:  # noqa: ARG002
        """Return which layout's expectation a run has."""
        return rank(run.layout)


class Misled(Pausing):
    """A pause shows what another layout is worth: that of the layers by other numbers."""

    def _place(self, run: Run, replay: int) -> int:
        if run.fidelity == FULL:
            return rank(run.layout)
        other = np.random.default_rng((replay, 5)).permutation(self.depth)
        return rank(layout_of(np.array(run.layout.flags)[other]))


def main() -> None:
    """Write what the pauses tell, and print how far they foretell ends."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    write(folder)
    print("Correlation of (loss with its sign turned)", *agreements(folder), sep="\n")


if __name__ == "__main__":
    main()
