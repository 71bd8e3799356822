"""What an exhaustive table knows, as a world in which searches can be replayed.

In a replay a run comes out as the model behind the truth (`fit_ground_truth.py`) has it:
expectation, what its seed does to layouts that are alike, and noise.
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
CHOSEN = "chosen.csv"
_TABLES = (("quick.csv", QUICK), ("full.csv", FULL), (CHOSEN, FULL))
LEVELS = ("quick_loss", "full_loss", "quick_accuracy", "full_accuracy")
_LEARNT = 0.3  # of the layouts with one run: enough for the few parameters of the kernel


def read(folder: Path, without: str | None = None) -> list[Observation]:
    """Return the last check of each run in a folder's tables, where they are; qualities in points.

    `chosen.csv` has the layouts that strategies chose, on seeds of its own (`validate_choices.py`).
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


def fit(seen: list[Observation]) -> Surrogate:
    """Fit the model that tells noise, seed, budget and truth apart."""
    several = {one.run.layout for one in seen if one.run.seed}
    draw = random.Random(0)
    part = [one for one in seen if one.run.layout in several or draw.random() < _LEARNT]
    return Surrogate.fit(_runs(seen), _runs(part))


def _runs(seen: list[Observation]) -> Observations:
    return Observations(
        layout_to_flags([one.run.layout for one in seen]),
        np.array([one.quality for one in seen]),
        np.array([one.run.fidelity for one in seen]),
        seeds=np.array([one.run.seed for one in seen]),
        losses=np.array([one.loss for one in seen]),
    )


@dataclass(frozen=True)
class World:
    """All layouts of one depth and keep: their truth, and what runs of them come out as."""

    folder: Path

    @cached_property
    def _table(self) -> dict[str, Values]:
        with (self.folder / "truth.csv").open(newline="") as lines:
            rows = sorted(
                csv.DictReader(lines), key=lambda row: layout_rank(Layout.parse(row["layout"]))
            )
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
    def _seen(self) -> list[Observation]:
        return read(self.folder)

    @cached_property
    def _root(self) -> Values:
        """A root of the covariance of what layers do, to draw a seed's effects with."""
        codes = encode_flags(all_flags(self.depth, self.keep))
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
        """The truth of all layouts in the order of `all_flags`: (layouts,) in points."""
        return self._table["truth"]

    def regret(self, layout: Layout) -> float:
        """Return how many points of truth `layout` is below the best."""
        return float(self.truth.max() - self.truth[layout_rank(layout)])

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

    def measure(self, run: TrialRun, replay: int) -> Observation:
        """Return what a run comes out as, the same whenever it is asked for in one replay."""
        kernel, scales = self._model
        full, place = int(run.fidelity == FULL), layout_rank(run.layout)
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
        return Observation(run, seen[1], seen[0])

    def rows(self, replay: int) -> Callable[[TrialRun], Observation]:
        """Return a measure that takes a layout's rows one after the other, by rising seed.

        What the table lacks comes out as in `measure`; the runs of what was chosen are left for
        the check of the choice.
        """
        left: dict[tuple[Layout, float], list[Observation]] = {}
        rows = read(self.folder, without=CHOSEN)
        for one in sorted(rows, key=lambda one: -one.run.seed):
            left.setdefault((one.run.layout, one.run.fidelity), []).append(one)

        def measure(run: TrialRun) -> Observation:
            rows = left.get((run.layout, run.fidelity))
            if not rows:
                return self.measure(run, replay)
            row = rows.pop()
            return Observation(run, row.quality, row.loss)

        return measure


def _tied(both: Values, tie: float, look: int) -> float:
    """Return the first of two normals, or one that correlates with it by `tie`."""
    return float(both[0] if look == 0 else tie * both[0] + np.sqrt(1 - tie**2) * both[1])
