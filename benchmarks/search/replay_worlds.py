"""Worlds beside that of the table: runs that pause and go on, and runs that begin from a supernet.

    python benchmarks/search/replay_worlds.py studies/exhaustive-mr-12-shc-keep6

- *pauses*: a full run's third of ten checks is what the same run would have shown, had it paused
  there: its learning rate is still high, which no quick run's is at its end;
- *tuned*: one pass of each layout from a supernet (`from_supernet.py`), where the folder has them.

For each a model is fitted to these rows and to all of the table, quick runs as a budget of their
own, pauses and ends of the same runs tied. `NAME.csv` has what such a run is expected to show of
each layout, `NAME.json` what seeds and noise do. The truth is that of `fit_ground_truth.py`.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import correlation
from typing import Any, ClassVar

import numpy as np

from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout
from autoprune.search.gp_kernel import Kernel
from autoprune.search.search_space import all_flags, flags_to_layout, layout_rank
from autoprune.search.trial import Observation, TrialRun
from replay_tables import CHOSEN, FULL, QUICK, Values, World, fit, read

FROM_NETS = "from-supernets.csv"
TUNED = 0.1  # one of the ten passes of a full run; the supernet itself is another matter
_ANNEALED = QUICK - 0.001  # a quick run that ends there, beside one that pauses
LEVELS = ("loss", "full_loss", "accuracy", "full_accuracy")


def at_pause(folder: Path) -> list[Observation]:
    """Return what the full runs showed when a quick one's steps were made."""
    checks: dict[TrialRun, list[Observation]] = {}
    with (folder / "full.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            run = TrialRun(Layout.parse(row["layout"]), int(row["seed"]), QUICK)
            quality, loss = float(row["validation_accuracy"]), float(row["validation_loss"])
            checks.setdefault(run, []).append(Observation(run, 100 * quality, loss))
    return [seen[round(QUICK * len(seen)) - 1] for seen in checks.values()]


def from_nets(folder: Path) -> list[Observation]:
    """Return the runs that began from supernets; each net counts as a seed of its own."""
    with (folder / FROM_NETS).open(newline="") as lines:
        return [
            Observation(
                TrialRun(Layout.parse(row["layout"]), 100 + int(row["net"]), TUNED),
                100 * float(row["validation_accuracy"]),
                float(row["validation_loss"]),
            )
            for row in csv.DictReader(lines)
        ]


def write(folder: Path, name: str, more: Sequence[Observation]) -> None:
    """Fit the model of a table's runs and `more` and write what it tells."""
    ended = [
        replace(one, run=replace(one.run, fidelity=_ANNEALED)) if one.run.fidelity < FULL else one
        for one in read(folder)
    ]
    model = fit([*ended, *more])
    levels = [
        level
        for pair in zip(
            model.unit.levels(more[0].run.fidelity), model.unit.levels(FULL), strict=True
        )
        for level in pair
    ]
    space = all_flags(ended[0].run.layout.depth, len(ended[0].run.layout.keep))
    shown = [model.expect(space, level) for level in levels[::2]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", *LEVELS[::2]])
    for row, *values in zip(space, *shown, strict=True):
        writer.writerow([str(flags_to_layout(row)), *(round(float(value), 4) for value in values)])
    write_atomic(folder / f"{name}.csv", out.getvalue())
    kernel = {
        part: value[levels].tolist() if isinstance(value, np.ndarray) else value
        for part, value in asdict(model.kernel).items()
    }
    scales = [float(model.unit.scales[level]) for level in levels]
    told = {"levels": LEVELS, "kernel": kernel, "scales": scales}
    write_atomic(folder / f"{name}.json", json.dumps(told, indent=1) + "\n")


def agreements(seen: Sequence[Observation], folder: Path) -> list[str]:
    """Say how far accuracy and loss of short runs foretell the accuracy of full ones."""
    ends = {
        (one.run.layout, one.run.seed): one
        for one in read(folder, without=CHOSEN)
        if one.run.fidelity == FULL
    }
    seeds = sorted({seed for _, seed in ends})
    said = []
    for mine, theirs in product(sorted({one.run.seed for one in seen}), seeds):
        both = [
            (one, ends[one.run.layout, theirs])
            for one in seen
            if one.run.seed == mine and (one.run.layout, theirs) in ends
        ]
        reached = [end.quality for _, end in both]
        quality = correlation([short.quality for short, _ in both], reached)
        loss = correlation([-short.loss for short, _ in both], reached)
        said.append(
            f"seed {mine} and full runs on seed {theirs}, {len(both)} layouts: accuracy "
            f"{quality:+.2f}, loss {loss:+.2f}"
        )
    return said


@dataclass(frozen=True)
class Pausing(World):
    """Quick runs are full ones that pause; a run of the same layout and seed goes on from there."""

    name: ClassVar = "pauses"

    @cached_property
    def _model(self) -> tuple[Kernel, Values]:
        told = json.loads((self.folder / f"{self.name}.json").read_text())
        kernel: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in told["kernel"].items()
        }
        return Kernel(**kernel), np.array(told["scales"])

    @cached_property
    def _shown(self) -> dict[str, Values]:
        with (self.folder / f"{self.name}.csv").open(newline="") as lines:
            rows = sorted(
                csv.DictReader(lines), key=lambda row: layout_rank(Layout.parse(row["layout"]))
            )
        shown = {name: np.array([float(row[name]) for row in rows]) for name in LEVELS[::2]}
        return shown | {"full_loss": self._table["full_loss"], "full_accuracy": self.truth}

    def measure(self, run: TrialRun, replay: int) -> Observation:
        """Return what a run shows at its pause or its end, which share their luck as fitted."""
        (kernel, scales), place, seen = self._model, layout_rank(run.layout), list[float]()
        whole = int(run.fidelity == FULL)
        for level in (whole, 2 + whole):
            both = np.sqrt([kernel.tie, 1 - kernel.tie])  # the run's luck, this look's own
            draws = [np.random.default_rng((replay, self._seed(run), one)) for one in (9, level)]
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
        return Observation(run, seen[1], seen[0])

    def _place(self, run: TrialRun, replay: int) -> int:  # noqa: ARG002
        """Return which layout's expectation a run has."""
        return layout_rank(run.layout)

    def _seed(self, run: TrialRun) -> int:
        """Return what decides the effects that are alike for layouts that are alike."""
        return run.seed


class Misled(Pausing):
    """A pause shows what another layout is worth: that of the layers by other numbers."""

    def _place(self, run: TrialRun, replay: int) -> int:
        if run.fidelity == FULL:
            return layout_rank(run.layout)
        other = np.random.default_rng((replay, 5)).permutation(self.depth)
        return layout_rank(flags_to_layout(np.array(run.layout.flags)[other]))


class Tuned(Pausing):
    """Runs begin from one of two supernets in turn, which does to them what a seed does."""

    name: ClassVar = "tuned"
    nets: ClassVar = 2

    def _seed(self, run: TrialRun) -> int:
        return run.seed % self.nets


class TunedFromOne(Tuned):
    """All runs begin from the same supernet."""

    nets: ClassVar = 1


MORE: dict[str, Callable[[Path], list[Observation]]] = {"pauses": at_pause, "tuned": from_nets}


def main() -> None:
    """Write what each world is made of, and print how far its runs foretell full ones."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    print("Correlation of (loss with its sign turned)")
    for name, more in MORE.items():
        if name == "pauses" or (folder / FROM_NETS).is_file():
            seen = more(folder)
            write(folder, name, seen)
            print(*(f"{name}, {said}" for said in agreements(seen, folder)), sep="\n")


if __name__ == "__main__":
    main()
