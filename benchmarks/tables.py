"""What an exhaustive table knows, as a world in which searches can be replayed.

One model is fitted to all rows: quick and full budget, all seeds. The truth of a layout is its
posterior mean under the full budget and no seed. In a replay a run comes out as the model has it:
the quality of its layout and budget, what its seed does to layouts that are alike, and noise.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout
from autoprune.search.kernel import Rows
from autoprune.search.run import Run
from autoprune.search.space import flags_of, grid, rank
from autoprune.search.surrogate import Runs, Surrogate, coded

Values = NDArray[np.float64]

QUICK, FULL = 0.3, 1.0  # 3 and 10 epochs, as shares of the full budget
_OBJECTIVE = "validation_accuracy"


@dataclass(frozen=True, slots=True)
class Measured:
    """The last check of each run in a folder's tables; qualities in points."""

    runs: tuple[Run, ...]
    qualities: Values

    @property
    def seeds(self) -> NDArray[np.int64]:
        """The seed of each run."""
        return np.array([run.seed for run in self.runs])

    @property
    def fidelities(self) -> Values:
        """The share of the full budget that each run had."""
        return np.array([run.fidelity for run in self.runs])

    @classmethod
    def read(cls, folder: Path) -> "Measured":
        """Read `quick.csv` and `full.csv`; raises `FileNotFoundError` without the former."""
        last: dict[Run, float] = {}
        for name, fidelity in (("quick.csv", QUICK), ("full.csv", FULL)):
            table = folder / name
            if fidelity == FULL and not table.exists():
                continue
            with table.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    run = Run(Layout.parse(row["layout"]), int(row["seed"]), fidelity)
                    last[run] = 100 * float(row[_OBJECTIVE])
        return cls(tuple(last), np.array(list(last.values())))

    def fit(self) -> Surrogate:
        """Fit the model that tells noise, seed, budget and truth apart."""
        flags = flags_of([run.layout for run in self.runs])
        return Surrogate.fit(Runs(flags, self.qualities, self.fidelities, seeds=self.seeds))


class World:
    """All layouts of one depth and keep: their truth, and what runs of them come out as."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        first = measured.runs[0].layout
        self.depth, self.keep = first.depth, len(first.keep)
        self.model = measured.fit()
        self._grid = grid(self.depth, self.keep)
        self.truth = self.model.predict(self._grid)[0]  # (layouts,) in points
        self._expected = {
            level: self._mean(number) for number, level in enumerate(self.model.levels.tolist())
        }

    def _mean(self, level: int) -> Values:
        rows = Rows(coded(self._grid), np.full(len(self._grid), level), None)
        echo = self.model.kernel.between(rows, self.model.rows) @ self.model.weights
        return np.asarray(echo * self.model.scale + self.model.centres[level])

    @cached_property
    def _root(self) -> Values:
        """A root of the covariance of what layers do, to draw a seed's effects with."""
        codes = coded(self._grid)
        kernel = self.model.kernel
        near = np.exp(-(1.0 - codes @ codes.T) / kernel.reach**2)
        whole = kernel.additive * (codes @ codes.T) + kernel.joint * near
        return np.asarray(np.linalg.cholesky(whole + 1e-8 * np.eye(len(codes))), dtype=np.float64)

    def regret(self, layout: Layout) -> float:
        """Return how many points of truth `layout` is below the best."""
        return float(self.truth.max() - self.truth[rank(layout)])

    def measure(self, run: Run, replay: int) -> float:
        """Return the quality of a run, the same whenever it is asked for in one replay."""
        level = int(np.searchsorted(self.model.levels, run.fidelity))
        kernel, place = self.model.kernel, rank(run.layout)
        rng = np.random.default_rng((replay, run.seed, level))
        effects = self._root[place] @ rng.normal(size=len(self._root)) * np.sqrt(kernel.drift)
        effects += rng.normal() * np.sqrt(kernel.shift)
        rng = np.random.default_rng((replay, run.seed, level, place))
        noise = rng.normal() * np.sqrt(kernel.noise[level])
        off = kernel.coupling[level] * effects + noise
        return float(self._expected[run.fidelity][place] + off * self.model.scale)

    def rows(self, replay: int) -> Callable[[Run], float]:
        """Return a measure that takes a layout's rows one after the other, by rising seed.

        What the table lacks comes out as in `measure`.
        """
        left: dict[tuple[Layout, float], list[tuple[int, float]]] = {}
        for run, quality in zip(self._measured.runs, self._measured.qualities, strict=True):
            left.setdefault((run.layout, run.fidelity), []).append((run.seed, float(quality)))
        for rows in left.values():
            rows.sort(reverse=True)

        def measure(run: Run) -> float:
            rows = left.get((run.layout, run.fidelity))
            return rows.pop()[1] if rows else self.measure(run, replay)

        return measure
