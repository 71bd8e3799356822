"""World of an exhaustive table: what runs of each layout show, so that searches can be replayed.

In a replay a run shows what the model behind the ground truth (`fit_ground_truth.py`) says:
expectation, the effect of its seed, which is similar for similar layouts, and noise.
"""

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout
from autoprune.search.gp_kernel import Kernel
from autoprune.search.gp_model import Observations, Surrogate, encode_flags
from autoprune.search.search_space import all_flags, layout_rank, layout_to_flags
from autoprune.search.trial import Observation, TrialRun

Values = NDArray[np.float64]

QUICK, FULL = 0.3, 1.0  # 3 and 10 epochs, as shares of the full budget
CHOSEN_FILE = "chosen.csv"
_TABLES = (("quick.csv", QUICK), ("full.csv", FULL), (CHOSEN_FILE, FULL))
LEVELS = ("quick_loss", "full_loss", "quick_accuracy", "full_accuracy")
_FIT_SHARE = 0.3  # of the layouts with one run: enough for the few parameters of the kernel


def read_runs(folder: Path, without: str | None = None) -> list[Observation]:
    """Return the last check of each run in a folder's tables, qualities in points.

    Tables that are missing are left out. `chosen.csv` has the layouts that strategies chose, on
    seeds of its own (`validate_choices.py`).
    """
    last: dict[TrialRun, Observation] = {}
    for name, fidelity in _TABLES:
        if name == without or not (folder / name).exists():
            continue
        with (folder / name).open(newline="") as lines:
            for row in csv.DictReader(lines):
                run = TrialRun(Layout.parse(row["layout"]), int(row["seed"]), fidelity)
                quality, loss = float(row["validation_accuracy"]), float(row["validation_loss"])
                last[run] = Observation(run, 100 * quality, loss)
    return list(last.values())


def fit_model(runs: list[Observation]) -> Surrogate:
    """Fit the model that separates noise, seed, budget and truth."""
    repeated = {run.run.layout for run in runs if run.run.seed}
    generator = random.Random(0)
    sample = [run for run in runs if run.run.layout in repeated or generator.random() < _FIT_SHARE]
    return Surrogate.fit(_observations(runs), _observations(sample))


def _observations(runs: list[Observation]) -> Observations:
    return Observations(
        layout_to_flags([run.run.layout for run in runs]),
        np.array([run.quality for run in runs]),
        np.array([run.run.fidelity for run in runs]),
        seeds=np.array([run.run.seed for run in runs]),
        losses=np.array([run.loss for run in runs]),
    )


KERNEL_FIELDS = {
    "additive": "linear_variance",
    "joint": "rbf_variance",
    "reach": "length_scale",
    "weight": "proxy_variance",
    "coupling": "coregionalization",
    "own": "specific_variance",
    "noise": "noise_variance",
    "drift": "seed_layer_variance",
    "shift": "seed_offset_variance",
    "tie": "noise_correlation",
}
"""Fields of `Kernel` by their key in a model's file."""


def read_model(path: Path) -> tuple[Kernel, Values]:
    """Return the kernel and the scales of the levels that a fit wrote."""
    content = json.loads(path.read_text())
    kernel: dict[str, Any] = {
        KERNEL_FIELDS[name]: np.array(value) if isinstance(value, list) else value
        for name, value in content["kernel"].items()
    }
    return Kernel(**kernel), np.array(content["scales"])


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, Values]:
    """Return columns of a table with a row for each layout, in the order of `all_flags`."""
    with path.open(newline="") as lines:
        rows = sorted(
            csv.DictReader(lines), key=lambda row: layout_rank(Layout.parse(row["layout"]))
        )
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


@dataclass(frozen=True)
class World:
    """All layouts of one depth and keep: their ground truth, and what runs of them show."""

    folder: Path

    @cached_property
    def _table(self) -> dict[str, Values]:
        table = read_columns(self.folder / "truth.csv", ("truth", *LEVELS[:-1]))
        return table | {LEVELS[-1]: table["truth"]}

    @cached_property
    def _model(self) -> tuple[Kernel, Values]:
        return read_model(self.folder / "model.json")

    @cached_property
    def _first_layout(self) -> Layout:
        return read_runs(self.folder)[0].run.layout

    @cached_property
    def _root(self) -> Values:
        """A root of the covariance of the layers' effects, to draw those of a seed."""
        codes = encode_flags(all_flags(self.depth, self.keep))
        kernel, _ = self._model
        similarity = np.exp(-(1.0 - codes @ codes.T) / kernel.length_scale**2)
        covariance = kernel.linear_variance * (codes @ codes.T) + kernel.rbf_variance * similarity
        root = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(codes)))
        return np.asarray(root, dtype=np.float64)

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self._first_layout.depth

    @property
    def keep(self) -> int:
        """How many of them are kept."""
        return len(self._first_layout.keep)

    @property
    def truth(self) -> Values:
        """The ground truth of all layouts in the order of `all_flags`: (layouts,) in points."""
        return self._table["truth"]

    def regret(self, layout: Layout) -> float:
        """Return how many points of ground truth `layout` is below the best."""
        return float(self.truth.max() - self.truth[layout_rank(layout)])

    def variance_parts(self, level: int) -> str:
        """Say what a run's figure at `level` consists of, in standard deviations of its unit."""
        kernel, scales = self._model
        layers = kernel.linear_variance + kernel.rbf_variance
        squared = kernel.coregionalization[level] ** 2
        variances = {
            "truth": squared * layers,
            "this budget's own": kernel.specific_variance[level] * layers,
            "the seed's, by layout": squared * kernel.seed_layer_variance * layers,
            "the seed's, for all": squared * kernel.seed_offset_variance,
            "noise": kernel.noise_variance[level],
        }
        size = abs(scales[level])
        parts = ", ".join(f"{name} {size * var**0.5:.3g}" for name, var in variances.items())
        return f"{LEVELS[level]}: {parts}"

    def measure(self, run: TrialRun, replay: int) -> Observation:
        """Return what a run shows, always the same in one replay."""
        kernel, scales = self._model
        full, rank = int(run.fidelity == FULL), layout_rank(run.layout)
        rng = np.random.default_rng((replay, run.seed, full))
        effects, shift = rng.normal(size=(2, len(self._root))), rng.normal(size=2)
        noise = np.random.default_rng((replay, run.seed, full, rank)).normal(size=2)
        by_seed = np.sqrt(kernel.seed_layer_variance) * (effects @ self._root[rank])
        by_seed += np.sqrt(kernel.seed_offset_variance) * shift
        values = []
        for index, level in enumerate((full, 2 + full)):
            correlation = kernel.noise_correlation
            seed_effect, own = (_correlated(pair, correlation, index) for pair in (by_seed, noise))
            offset = kernel.coregionalization[level] * seed_effect
            offset += np.sqrt(kernel.noise_variance[level]) * own
            values.append(float(self._table[LEVELS[level]][rank] + offset * scales[level]))
        loss, quality = values
        return Observation(run, quality, loss)

    def rows(self, replay: int) -> Callable[[TrialRun], Observation]:
        """Return a measure that takes a layout's rows one after the other, by rising seed.

        A run that the table lacks shows what `measure` says. The runs of chosen layouts are left
        out, for they validate the choice.
        """
        left: dict[tuple[Layout, float], list[Observation]] = {}
        runs = read_runs(self.folder, without=CHOSEN_FILE)
        for row in sorted(runs, key=lambda row: -row.run.seed):
            left.setdefault((row.run.layout, row.run.fidelity), []).append(row)

        def measure(run: TrialRun) -> Observation:
            rows = left.get((run.layout, run.fidelity))
            if not rows:
                return self.measure(run, replay)
            row = rows.pop()
            return Observation(run, row.quality, row.loss)

        return measure


def _correlated(pair: Values, correlation: float, index: int) -> float:
    """Return the first of two normal draws, or one that correlates with it by `correlation`."""
    if index == 0:
        return float(pair[0])
    return float(correlation * pair[0] + np.sqrt(1 - correlation**2) * pair[1])
