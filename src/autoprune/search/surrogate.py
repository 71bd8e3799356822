"""A surrogate of all layouts: what quality to expect of each, how surely, and what a run teaches.

A Gaussian process over layouts, budgets and a cheap score. Of each run it hears quality and loss:
both show the same worth, the loss often with less noise, as far as the runs bear that out. Runs of
several budgets and seeds meet in one model: the quality under the largest budget, what else is seen
as its echo with what is its own, and a noise of each, fitted from runs that disagree. Sources:
Swersky et al. 2013 (https://papers.nips.cc/paper/5086) for several fidelities in one process,
Letham et al. 2019 (https://arxiv.org/abs/1706.07094) for choosing under noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from autoprune.search.kernel import JITTER, Kernel, Rows, Values, fitted
from autoprune.search.runs import Runs, Unit, coded
from autoprune.search.space import Flags

_CHUNK = 20_000  # rows predicted at once: bounds the memory for large spaces


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process that knows `runs`; its quality is that under the largest budget."""

    runs: Runs
    unit: Unit
    kernel: Kernel
    rows: Rows
    factor: Values
    weights: Values

    @classmethod
    def fit(cls, runs: Runs, part: Runs | None = None, budgets: Sequence[float] = ()) -> Self:
        """Fit to at least one run.

        The kernel's parameters are the most probable ones under their prior: the likelihood
        alone, with few runs, takes noise for structure or structure for noise. They are learnt
        from all runs, or where that would take long from `part` of them. `budgets` are known of
        beside those of the runs: the quality is that under the largest of all.
        """
        unit = Unit.of(runs, budgets)
        rows, values = unit.rows(runs if part is None else part)
        return cls._known(runs, unit, fitted(rows, values, len(unit.centres)))

    @classmethod
    def _known(cls, runs: Runs, unit: Unit, kernel: Kernel) -> Self:
        rows, values = unit.rows(runs)
        whole = kernel.between(rows, rows) + kernel.disturbance(rows, rows)
        whole[np.diag_indices_from(whole)] += JITTER
        factor = cholesky(whole, lower=True)
        return cls(runs, unit, kernel, rows, factor, cho_solve((factor, True), values))

    @property
    def noise(self) -> float:
        """The variance of one run with the largest budget, its seed's effects apart."""
        return float(self.kernel.noise[-1] * self.unit.scales[-1] ** 2)

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
            cross = self.kernel.between(rows, self.rows)  # (part, seen)
            spread = self.kernel.variance(rows) - np.einsum(
                "pr,rp->p", cross, cho_solve((self.factor, True), cross.T)
            )
            means.append(self._restored(cross @ self.weights, -1))
            stds.append(np.sqrt(np.maximum(spread, 0.0)) * self.unit.scales[-1])
        return np.concatenate(means), np.concatenate(stds)

    def expect(
        self, flags: Flags, level: int | NDArray[np.int64], hints: Values | None = None
    ) -> Values:
        """Return what a level, or one for each row, is expected to show under no seed: (rows,)."""
        rows = self._asked(flags, hints, level)
        return self._restored(self.kernel.between(rows, self.rows) @ self.weights, level)

    def teaches(
        self,
        flags: Flags,
        hints: Values | None,
        fidelity: float,
        paused: NDArray[np.int64] | None = None,
    ) -> Values:
        """Return by how much a run's surprises move each expected quality: (looks, rows, runs).

        Entry [k, i, j]: the change of the mean of row `i`, when row `j` is run with `fidelity`
        (one of the runs') on a seed of its own, and what is seen of it, the loss and then what the
        quality adds to it, comes out one standard deviation above what is expected. With `paused`,
        numbers of known runs, run `j` is that one gone on with.
        """
        asked, moves = self._asked(flags, hints), list[Values]()
        levels = self.unit.levels(fidelity)
        if paused is None:
            runs = [self._asked(flags, hints, level) for level in levels]
            outs = [self.kernel.between(run, self.rows) for run in runs]
        else:
            seeds, courses = (one[paused] for one in self.runs.origins())
            theirs = None if self.runs.hints is None else self.runs.hints[paused]
            runs = [
                replace(
                    self._asked(self.runs.flags[paused], theirs, level), seeds=seeds, runs=courses
                )
                for level in levels
            ]
            outs = [
                self.kernel.between(run, self.rows) + self.kernel.disturbance(run, self.rows)
                for run in runs
            ]
        into = self.kernel.between(asked, self.rows)
        solved = [cho_solve((self.factor, True), out.T) for out in outs]  # (seen, rows) each
        together = [
            self.kernel.between(asked, run) - into @ one
            for run, one in zip(runs, solved, strict=True)
        ]

        def spread(one: int, other: int) -> Values:
            known = np.einsum("pr,rp->p", outs[one], solved[other])
            return np.asarray(self.kernel.spread(runs[0], levels[one], levels[other]) - known)

        rest, left = together[-1], spread(-1, -1)
        if len(levels) > 1:  # the loss is heard first; of the quality only what it adds counts
            first = np.maximum(spread(0, 0), JITTER)
            moves.append(together[0] / np.sqrt(first))
            rest = rest - together[0] * (spread(0, 1) / first)
            left = left - spread(0, 1) ** 2 / first
        moves.append(rest / np.sqrt(np.maximum(left, JITTER)))
        return np.asarray(np.stack(moves) * self.unit.scales[-1])

    def believe(self, flags: Flags, fidelities: Values, hints: Values | None = None) -> Self:
        """Take the expected qualities of `flags` as measured, as for runs still under way.

        The kernel is not fitted anew: a believed value teaches nothing about it. Budgets that no
        run has had yet are left out.
        """
        known = np.isin(fidelities, self.unit.budgets)
        flags, fidelities = flags[known], fidelities[known]
        hints = None if hints is None else hints[known]
        if not len(flags):
            return self
        budgets, levels = self.unit.budgets, len(self.unit.centres)
        place = np.searchsorted(budgets, fidelities)
        looks = [self.expect(flags, place + up, hints) for up in range(0, levels, len(budgets))]
        losses = None if self.runs.losses is None else looks[0]
        believed = Runs(flags, looks[-1], fidelities, hints, losses=losses)
        return self._known(self.runs.with_more(believed), self.unit, self.kernel)

    def _asked(
        self, flags: Flags, hints: Values | None, level: int | NDArray[np.int64] = -1
    ) -> Rows:
        assert (hints is None) == (self.rows.hints is None), "either all rows have a cheap score"
        levels = np.broadcast_to(np.asarray(level) % len(self.unit.centres), len(flags))
        return Rows(coded(flags), levels, self.unit.hints(hints))

    def _restored(self, values: Values, level: int | NDArray[np.int64]) -> Values:
        return np.asarray(values * self.unit.scales[level] + self.unit.centres[level])
