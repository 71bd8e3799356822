"""A surrogate of all layouts: what quality to expect of each, how surely, and what a run teaches.

A Gaussian process over layouts, budgets and a cheap score. Of each run it hears quality and loss:
both show the same worth, the loss often with less noise, as far as the runs bear that out. Runs of
several budgets and seeds meet in one model: the quality under the largest budget, what else is seen
as its echo with what is its own, and a noise of each, fitted from runs that disagree. Sources:
Swersky et al. 2013 (https://papers.nips.cc/paper/5086) for several fidelities in one process,
Letham et al. 2019 (https://arxiv.org/abs/1706.07094) for choosing under noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from autoprune.search.gp_kernel import JITTER, Kernel, KernelRows, Matrix_, fit_map
from autoprune.search.search_space import LayerFlags

_ENOUGH = 10  # runs of a budget that tell its spread


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """What was measured: `flags` (runs, depth), `qualities` (runs,), and the share of the full
    budget that each run had, in (0, 1], `fidelities` (runs,). A layout may come several times.

    `hints` are the cheap scores of the same layouts (runs,), any unit, higher is better; None: no
    cheap score. `seeds` are those of the training (runs,); None: all different. A layout that has
    one seed twice, with two budgets, was paused and went on. `losses` (runs,) may be NaN where none
    is known; None: of no run.
    """

    flags: LayerFlags
    qualities: Matrix_
    fidelities: Matrix_
    hints: Matrix_ | None = None
    seeds: NDArray[np.int64] | None = None
    losses: Matrix_ | None = None

    @classmethod
    def of(cls, flags: LayerFlags, qualities: Matrix_, hints: Matrix_ | None = None) -> Self:
        """Take all runs as having had the full budget."""
        return cls(flags, qualities, np.ones(len(flags)), hints)

    def every(self, step: int) -> Self:
        """Return one of `step` runs, the first among them."""
        whole = [getattr(self, one.name) for one in fields(self)]
        parts: list[Any] = [None if one is None else one[::step] for one in whole]
        return type(self)(*parts)

    def origins(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the seed of each run, and a number that it shares with what it went on from."""
        if self.seeds is None:
            return np.arange(len(self.flags)), np.arange(len(self.flags))
        both = np.column_stack([self.seeds, self.flags])
        return self.seeds, np.unique(both, axis=0, return_inverse=True)[1].ravel()

    def with_more(self, more: "Observations") -> "Observations":
        """Return these runs and `more`, which have seeds of their own."""
        hints, losses, seeds = None, None, self.seeds
        if self.hints is not None and more.hints is not None:
            hints = np.concatenate([self.hints, more.hints])
        if self.losses is not None and more.losses is not None:
            losses = np.concatenate([self.losses, more.losses])
        if seeds is not None:
            seeds = np.concatenate([seeds, seeds.max() + 1 + np.arange(len(more.flags))])
        return Observations(
            np.concatenate([self.flags, more.flags]),
            np.concatenate([self.qualities, more.qualities]),
            np.concatenate([self.fidelities, more.fidelities]),
            hints,
            seeds,
            losses,
        )


@dataclass(frozen=True, slots=True, eq=False)
class OutputScaler:
    """How what was seen becomes the process's values, and back.

    `budgets`: the shares of the full budget, rising. A level is one of them for the loss, if that
    is known, and then one for the quality: `centres` and `scales` (levels,), the latter negative
    for losses, so that more is better. `hint`: mean and spread of the cheap scores.
    """

    budgets: Matrix_
    centres: Matrix_
    scales: Matrix_
    hint: tuple[float, float]

    @classmethod
    def of(cls, runs: Observations, more: Sequence[float] = ()) -> Self:
        """Take the spread of each budget as its unit, or with few runs that of the one run most.

        Of the budgets `more` no run is needed: the mean over the others stands in for theirs.
        """
        budgets = np.unique([*runs.fidelities, *more])
        place = np.searchsorted(budgets, runs.fidelities)
        number = np.bincount(place, minlength=len(budgets))
        centres, scales = list[float](), list[float]()
        for values, sign in ((runs.losses, -1), (runs.qualities, 1)):
            if values is None:
                continue
            known = [values[(place == one) & np.isfinite(values)] for one in range(len(budgets))]
            most = known[int(number.argmax())]
            spread = float(most.std()) if len(most) else 0.0
            spreads = [float(one.std()) if len(one) >= _ENOUGH else spread for one in known]
            scales += [sign * (one or 1.0) for one in spreads]
            anywhere = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
            centres += [float(one.mean()) if len(one) else anywhere for one in known]
        hint = (0.0, 1.0)
        if runs.hints is not None:
            hint = float(runs.hints.mean()), float(runs.hints.std()) or 1.0
        return cls(budgets, np.array(centres), np.array(scales), hint)

    def levels(self, fidelity: float) -> list[int]:
        """Return the levels that a run with `fidelity`, one of `budgets`, is seen at."""
        first = int(np.searchsorted(self.budgets, fidelity))
        return list(range(first, len(self.centres), len(self.budgets)))

    def rows(self, runs: Observations) -> tuple[KernelRows, Matrix_]:
        """Return what was seen, as points and values of the process."""
        budgets = np.searchsorted(self.budgets, runs.fidelities)
        seeds, courses = runs.origins()
        seen = (
            runs.qualities[None] if runs.losses is None else np.stack([runs.losses, runs.qualities])
        )
        look, run = np.nonzero(np.isfinite(seen))
        levels = budgets[run] + len(self.budgets) * look
        hints = self.hints(runs.hints)
        rows = KernelRows(
            encode_flags(runs.flags[run]),
            levels,
            None if hints is None else hints[run],
            seeds[run],
            courses[run],
        )
        return rows, (seen[look, run] - self.centres[levels]) / self.scales[levels]

    def hints(self, hints: Matrix_ | None) -> Matrix_ | None:
        """Return cheap scores in the process's unit."""
        return None if hints is None else (hints - self.hint[0]) / self.hint[1]


def encode_flags(flags: LayerFlags) -> Matrix_:
    """Code flags as +-1 / sqrt(depth): dot products and distances do not grow with depth.

    A dot product is then the part of the quality that adds up over layers, and an RBF kernel
    decays with the Hamming distance, for what layers do together.
    """
    return np.asarray((2.0 * flags - 1.0) / np.sqrt(flags.shape[1]), dtype=np.float64)


_CHUNK = 20_000  # rows predicted at once: bounds the memory for large spaces


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process that knows `runs`; its quality is that under the largest budget."""

    runs: Observations
    unit: OutputScaler
    kernel: Kernel
    rows: KernelRows
    factor: Matrix_
    weights: Matrix_

    @classmethod
    def fit(
        cls, runs: Observations, part: Observations | None = None, budgets: Sequence[float] = ()
    ) -> Self:
        """Fit to at least one run.

        The kernel's parameters are the most probable ones under their prior: the likelihood
        alone, with few runs, takes noise for structure or structure for noise. They are learnt
        from all runs, or where that would take long from `part` of them. `budgets` are known of
        beside those of the runs: the quality is that under the largest of all.
        """
        unit = OutputScaler.of(runs, budgets)
        rows, values = unit.rows(runs if part is None else part)
        return cls._known(runs, unit, fit_map(rows, values, len(unit.centres)))

    @classmethod
    def _known(cls, runs: Observations, unit: OutputScaler, kernel: Kernel) -> Self:
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

    def predict(self, flags: LayerFlags, hints: Matrix_ | None = None) -> tuple[Matrix_, Matrix_]:
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
        self, flags: LayerFlags, level: int | NDArray[np.int64], hints: Matrix_ | None = None
    ) -> Matrix_:
        """Return what a level, or one for each row, is expected to show under no seed: (rows,)."""
        rows = self._asked(flags, hints, level)
        return self._restored(self.kernel.between(rows, self.rows) @ self.weights, level)

    def teaches(
        self,
        flags: LayerFlags,
        hints: Matrix_ | None,
        fidelity: float,
        paused: NDArray[np.int64] | None = None,
    ) -> Matrix_:
        """Return by how much a run's surprises move each expected quality: (looks, rows, runs).

        Entry [k, i, j]: the change of the mean of row `i`, when row `j` is run with `fidelity`
        (one of the runs') on a seed of its own, and what is seen of it, the loss and then what the
        quality adds to it, comes out one standard deviation above what is expected. With `paused`,
        numbers of known runs, run `j` is that one gone on with.
        """
        asked, moves = self._asked(flags, hints), list[Matrix_]()
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

        def spread(one: int, other: int) -> Matrix_:
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

    def believe(self, flags: LayerFlags, fidelities: Matrix_, hints: Matrix_ | None = None) -> Self:
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
        believed = Observations(flags, looks[-1], fidelities, hints, losses=losses)
        return self._known(self.runs.with_more(believed), self.unit, self.kernel)

    def _asked(
        self, flags: LayerFlags, hints: Matrix_ | None, level: int | NDArray[np.int64] = -1
    ) -> KernelRows:
        assert (hints is None) == (self.rows.hints is None), "either all rows have a cheap score"
        levels = np.broadcast_to(np.asarray(level) % len(self.unit.centres), len(flags))
        return KernelRows(encode_flags(flags), levels, self.unit.hints(hints))

    def _restored(self, values: Matrix_, level: int | NDArray[np.int64]) -> Matrix_:
        return np.asarray(values * self.unit.scales[level] + self.unit.centres[level])
