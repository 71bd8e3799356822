"""A surrogate of all layouts: what quality to expect of each, how surely, and what a run teaches.

A Gaussian process over layouts, budgets and a cheap score. Runs of several budgets and seeds meet
in one model: the quality under the largest budget, the weaker budgets' echo of it with what is
theirs alone, and a noise of each, fitted from runs that disagree. Sources: Swersky et al. 2013
(https://papers.nips.cc/paper/5086) for several fidelities in one process, Letham et al. 2019
(https://arxiv.org/abs/1706.07094) for choosing under noise.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from autoprune.search.kernel import Kernel, Rows, Values, fitted
from autoprune.search.space import Flags

_CHUNK = 20_000  # rows predicted at once: bounds the memory for large spaces
_JITTER = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """What was measured: `flags` (runs, depth), `qualities` (runs,), and the share of the full
    budget that each run had, in (0, 1], `fidelities` (runs,). A layout may come several times.

    `hints` are the cheap scores of the same layouts (runs,), any unit, higher is better; None: no
    cheap score. `seeds` are those of the training (runs,); None: all different.
    """

    flags: Flags
    qualities: Values
    fidelities: Values
    hints: Values | None = None
    seeds: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, flags: Flags, qualities: Values, hints: Values | None = None) -> Self:
        """Take all runs as having had the full budget."""
        return cls(flags, qualities, np.ones(len(flags)), hints)

    def with_more(self, more: "Runs") -> "Runs":
        """Return these runs and `more`."""
        hints = None
        if self.hints is not None and more.hints is not None:
            hints = np.concatenate([self.hints, more.hints])
        return Runs(
            np.concatenate([self.flags, more.flags]),
            np.concatenate([self.qualities, more.qualities]),
            np.concatenate([self.fidelities, more.fidelities]),
            hints,
            self._seeds_with(more),
        )

    def _seeds_with(self, more: "Runs") -> NDArray[np.int64] | None:
        if self.seeds is None:
            return None
        fresh = int(self.seeds.max()) + 1 + np.arange(len(more.flags))
        return np.concatenate([self.seeds, fresh if more.seeds is None else more.seeds])


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process that knows `runs`; its quality is that under the largest budget run.

    `levels` are the budgets in the runs, rising; `centres` (levels,) the mean quality of each,
    `scale` the unit of the process; `hint` is mean and spread of the cheap scores.
    """

    runs: Runs
    levels: Values
    centres: Values
    scale: float
    hint: tuple[float, float]
    kernel: Kernel
    rows: Rows
    factor: Values
    weights: Values

    @classmethod
    def fit(cls, runs: Runs) -> Self:
        """Fit to at least one run.

        The kernel's parameters are the most probable ones under their prior: the likelihood
        alone, with few runs, takes noise for structure or structure for noise.
        """
        levels, place, number = np.unique(runs.fidelities, return_inverse=True, return_counts=True)
        centres = np.array([runs.qualities[place == level].mean() for level in range(len(levels))])
        # The unit is the spread of the budget that was run most; other budgets keep theirs.
        scale = float(runs.qualities[place == int(number.argmax())].std()) or 1.0
        hint = (0.0, 1.0)
        if runs.hints is not None:
            hint = float(runs.hints.mean()), float(runs.hints.std()) or 1.0
        bare = cls._rows(runs, levels, hint)
        kernel = fitted(bare, (runs.qualities - centres[place]) / scale)
        return cls._known(runs, levels, centres, scale, hint, kernel)

    @classmethod
    def _known(
        cls,
        runs: Runs,
        levels: Values,
        centres: Values,
        scale: float,
        hint: tuple[float, float],
        kernel: Kernel,
    ) -> Self:
        rows = cls._rows(runs, levels, hint)
        values = (runs.qualities - centres[rows.levels]) / scale
        whole = kernel.between(rows, rows) + np.diag(kernel.noise[rows.levels] + _JITTER)
        factor = cholesky(whole, lower=True)
        weights = cho_solve((factor, True), values)
        return cls(runs, levels, centres, scale, hint, kernel, rows, factor, weights)

    @staticmethod
    def _rows(runs: Runs, levels: Values, hint: tuple[float, float]) -> Rows:
        hints = None if runs.hints is None else (runs.hints - hint[0]) / hint[1]
        return Rows(coded(runs.flags), np.searchsorted(levels, runs.fidelities), hints, runs.seeds)

    @property
    def noise(self) -> float:
        """The variance of one run with the largest budget, its seed's effects apart."""
        return float(self.kernel.noise[-1]) * self.scale**2

    @property
    def trust(self) -> float:
        """The slope from the cheap score to quality, both in units of their spread; 0: worthless.

        It is the posterior mean: a score that the study's own pairs do not bear out gets none.
        """
        if self.rows.hints is None:
            return 0.0
        echo = self.kernel.coupling[self.rows.levels] * self.rows.hints
        return float(self.kernel.weight * echo @ self.weights)

    def predict(self, flags: Flags, hints: Values | None = None) -> tuple[Values, Values]:
        """Return mean and standard deviation of the noise-free quality: (rows,) each."""
        means, stds = [], []
        for start in range(0, len(flags), _CHUNK):
            part = slice(start, start + _CHUNK)
            rows = self._asked(flags[part], None if hints is None else hints[part])
            cross = self.kernel.between(rows, self.rows)  # (part, runs)
            spread = self.kernel.variance(rows) - np.einsum(
                "pr,rp->p", cross, cho_solve((self.factor, True), cross.T)
            )
            means.append(cross @ self.weights * self.scale + self.centres[-1])
            stds.append(np.sqrt(np.maximum(spread, 0.0)) * self.scale)
        return np.concatenate(means), np.concatenate(stds)

    def teaches(self, flags: Flags, hints: Values | None, fidelity: float) -> Values:
        """Return by how much a run's surprise moves each expected quality: (rows, rows).

        Entry [i, j]: the change of the mean of row `i`, when row `j` is run with `fidelity` (one
        of `levels`) on a seed of its own, and comes out one standard deviation above what is
        expected of it.
        """
        asked = self._asked(flags, hints)
        level = int(np.searchsorted(self.levels, fidelity))
        run = Rows(asked.codes, np.full(len(flags), level), asked.hints)
        into, out = self.kernel.between(asked, self.rows), self.kernel.between(run, self.rows)
        solved = cho_solve((self.factor, True), out.T)  # (runs, rows)
        together = self.kernel.between(asked, run) - into @ solved
        spread = self.kernel.variance(run) - np.einsum("pr,rp->p", out, solved)
        spread = np.maximum(spread, 0.0) + self.kernel.scatter(run)
        return np.asarray(together / np.sqrt(spread) * self.scale)

    def believe(self, flags: Flags, fidelities: Values, hints: Values | None = None) -> Self:
        """Take the expected qualities of `flags` as measured, as for runs still under way.

        The kernel is not fitted anew: a believed value teaches nothing about it. Budgets that no
        run has had yet are left out.
        """
        known = np.isin(fidelities, self.levels)
        flags, fidelities = flags[known], fidelities[known]
        hints = None if hints is None else hints[known]
        if not len(flags):
            return self
        level = np.searchsorted(self.levels, fidelities)
        rows = Rows(coded(flags), level, self._scaled(hints))
        expected = self.kernel.between(rows, self.rows) @ self.weights * self.scale
        believed = Runs(flags, expected + self.centres[level], fidelities, hints)
        runs = self.runs.with_more(believed)
        return self._known(runs, self.levels, self.centres, self.scale, self.hint, self.kernel)

    def _asked(self, flags: Flags, hints: Values | None) -> Rows:
        last = np.full(len(flags), len(self.levels) - 1)
        return Rows(coded(flags), last, self._scaled(hints))

    def _scaled(self, hints: Values | None) -> Values | None:
        assert (hints is None) == (self.rows.hints is None), "either all rows have a cheap score"
        return None if hints is None else (hints - self.hint[0]) / self.hint[1]


def coded(flags: Flags) -> Values:
    """Code flags as +-1 / sqrt(depth): dot products and distances do not grow with depth.

    A dot product is then the part of the quality that adds up over layers, and an RBF kernel
    decays with the Hamming distance, for what layers do together.
    """
    return np.asarray((2.0 * flags - 1.0) / np.sqrt(flags.shape[1]), dtype=np.float64)
