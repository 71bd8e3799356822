"""Other worlds for replays: runs that pause and go on, and runs that begin from a supernet.

    python benchmarks/search/replay_worlds.py studies/exhaustive-mr-12-shc-keep6

- *pauses*: the third of ten checks of a full run is what the same run would have shown, had it
  paused there: its learning rate is still high, which that of a quick run at its end is not.
- *tuned*: one epoch of each layout from a supernet (`from_supernet.py`), where the folder has them.

For each, a model is fitted to these rows and to all of the table, with quick runs as a budget of
their own, and pauses and ends of the same runs correlated. `NAME.csv` has what such a run is
expected to show of each layout, `NAME.json` the effects of seed and noise. The ground truth is that
of `fit_ground_truth.py`.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import correlation
from typing import ClassVar

import numpy as np

from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout
from autoprune.search.gp_kernel import Kernel
from autoprune.search.search_space import all_flags, flags_to_layout, layout_rank
from autoprune.search.trial import Observation, TrialRun
from replay_tables import (
    CHOSEN_FILE,
    FULL,
    KERNEL_FIELDS,
    QUICK,
    Values,
    World,
    fit_model,
    read_columns,
    read_model,
    read_runs,
)

SUPERNETS_FILE = "from-supernets.csv"
SUPERNET_QUICK = 0.1  # one of the ten epochs of a full run; the supernet's own cost is not in it
_ANNEALED = QUICK - 0.001  # a quick run that ends there, beside one that pauses
LEVELS = ("loss", "full_loss", "accuracy", "full_accuracy")


def read_pauses(folder: Path) -> list[Observation]:
    """Return what the full runs showed after the steps of a quick one."""
    checks: dict[TrialRun, list[Observation]] = {}
    with (folder / "full.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            run = TrialRun(Layout.parse(row["layout"]), int(row["seed"]), QUICK)
            quality, loss = float(row["validation_accuracy"]), float(row["validation_loss"])
            checks.setdefault(run, []).append(Observation(run, 100 * quality, loss))
    return [of_run[round(QUICK * len(of_run)) - 1] for of_run in checks.values()]


def read_supernet_runs(folder: Path) -> list[Observation]:
    """Return the runs that began from supernets; each supernet counts as a seed of its own."""
    with (folder / SUPERNETS_FILE).open(newline="") as lines:
        return [
            Observation(
                TrialRun(Layout.parse(row["layout"]), 100 + int(row["net"]), SUPERNET_QUICK),
                100 * float(row["validation_accuracy"]),
                float(row["validation_loss"]),
            )
            for row in csv.DictReader(lines)
        ]


def write_world(folder: Path, name: str, runs: Sequence[Observation]) -> None:
    """Fit the model to a table's runs and to `runs`, and write it."""
    table = [
        replace(one, run=replace(one.run, fidelity=_ANNEALED)) if one.run.fidelity < FULL else one
        for one in read_runs(folder)
    ]
    model = fit_model([*table, *runs])
    of_runs, of_full = (model.scaler.outputs_at(share) for share in (runs[0].run.fidelity, FULL))
    levels = [level for pair in zip(of_runs, of_full, strict=True) for level in pair]
    layout = table[0].run.layout
    space = all_flags(layout.depth, len(layout.keep))
    expected = [model.predict_output(space, level) for level in levels[::2]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layout", *LEVELS[::2]])
    for row, *values in zip(space, *expected, strict=True):
        writer.writerow([str(flags_to_layout(row)), *(round(float(value), 4) for value in values)])
    write_atomic(folder / f"{name}.csv", out.getvalue())
    kernel = {
        key: value[levels].tolist() if isinstance(value, np.ndarray) else value
        for key, field in KERNEL_FIELDS.items()
        for value in [getattr(model.kernel, field)]
    }
    scales = [float(model.scaler.scales[level]) for level in levels]
    content = {"levels": LEVELS, "kernel": kernel, "scales": scales}
    write_atomic(folder / f"{name}.json", json.dumps(content, indent=1) + "\n")


def agreements(runs: Sequence[Observation], folder: Path) -> list[str]:
    """Say how well accuracy and loss of short runs predict the accuracy of full ones."""
    full_runs = {
        (one.run.layout, one.run.seed): one
        for one in read_runs(folder, without=CHOSEN_FILE)
        if one.run.fidelity == FULL
    }
    full_seeds = sorted({seed for _, seed in full_runs})
    lines = []
    for seed, full_seed in product(sorted({one.run.seed for one in runs}), full_seeds):
        pairs = [
            (one, full_runs[one.run.layout, full_seed])
            for one in runs
            if one.run.seed == seed and (one.run.layout, full_seed) in full_runs
        ]
        full = [full_run.quality for _, full_run in pairs]
        quality = correlation([short.quality for short, _ in pairs], full)
        loss = correlation([-short.loss for short, _ in pairs], full)
        lines.append(
            f"seed {seed} and full runs on seed {full_seed}, {len(pairs)} layouts: accuracy "
            f"{quality:+.2f}, loss {loss:+.2f}"
        )
    return lines


@dataclass(frozen=True)
class PausingWorld(World):
    """Quick runs are full ones that pause; a run of the same layout and seed goes on from there."""

    name: ClassVar = "pauses"

    @cached_property
    def _model(self) -> tuple[Kernel, Values]:
        return read_model(self.folder / f"{self.name}.json")

    @cached_property
    def _expected(self) -> dict[str, Values]:
        expected = read_columns(self.folder / f"{self.name}.csv", LEVELS[::2])
        return expected | {"full_loss": self._table["full_loss"], "full_accuracy": self.truth}

    def measure(self, run: TrialRun, replay: int) -> Observation:
        """Return what a run shows at its pause or its end, whose effects correlate as fitted."""
        (kernel, scales), rank, values = self._model, layout_rank(run.layout), list[float]()
        full = int(run.fidelity == FULL)
        for level in (full, 2 + full):
            tie = kernel.noise_correlation
            weights = np.sqrt([tie, 1 - tie])  # of the whole run, of this level
            draws = [np.random.default_rng((replay, self._seed(run), one)) for one in (9, level)]
            effects = weights @ [rng.normal(size=len(self._root)) for rng in draws]
            shift = weights @ [rng.normal() for rng in draws]
            noise = weights @ [
                np.random.default_rng((replay, run.seed, one, rank)).normal() for one in (9, level)
            ]
            offset = np.sqrt(kernel.seed_layer_variance) * (effects @ self._root[rank])
            offset = offset + np.sqrt(kernel.seed_offset_variance) * shift
            offset = kernel.coregionalization[level] * offset
            offset += np.sqrt(kernel.noise_variance[level]) * noise
            expected = self._expected[LEVELS[level]][self._expected_rank(run, replay)]
            values.append(float(expected + offset * scales[level]))
        loss, quality = values
        return Observation(run, quality, loss)

    def _expected_rank(self, run: TrialRun, replay: int) -> int:  # noqa: ARG002
        """Return the rank of the layout whose expectation a run has."""
        return layout_rank(run.layout)

    def _seed(self, run: TrialRun) -> int:
        """Return the seed of the effects that are similar for similar layouts."""
        return run.seed


class MisleadingWorld(PausingWorld):
    """A pause shows what another layout is worth: that of the layers by other numbers."""

    def _expected_rank(self, run: TrialRun, replay: int) -> int:
        if run.fidelity == FULL:
            return layout_rank(run.layout)
        order = np.random.default_rng((replay, 5)).permutation(self.depth)
        return layout_rank(flags_to_layout(np.array(run.layout.flags)[order]))


class SupernetWorld(PausingWorld):
    """Runs begin from one of two supernets in turn, which has the effect of a seed."""

    name: ClassVar = "tuned"
    supernets: ClassVar = 2

    def _seed(self, run: TrialRun) -> int:
        return run.seed % self.supernets


class OneSupernetWorld(SupernetWorld):
    """All runs begin from the same supernet."""

    supernets: ClassVar = 1


READERS: dict[str, Callable[[Path], list[Observation]]] = {
    "pauses": read_pauses,
    "tuned": read_supernet_runs,
}


def main() -> None:
    """Write the model of each world, and print how well its runs predict full ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("Correlation of (loss with its sign turned)")
    for name, read in READERS.items():
        if name == "pauses" or (folder / SUPERNETS_FILE).is_file():
            runs = read(folder)
            write_world(folder, name, runs)
            print(*(f"{name}, {line}" for line in agreements(runs, folder)), sep="\n")


if __name__ == "__main__":
    main()
