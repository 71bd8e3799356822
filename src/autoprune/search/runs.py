"""What was measured, and how it becomes the values of a process."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from autoprune.search.kernel import Rows, Values
from autoprune.search.space import Flags

_ENOUGH = 10  # runs of a budget that tell its spread


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """What was measured: `flags` (runs, depth), `qualities` (runs,), and the share of the full
    budget that each run had, in (0, 1], `fidelities` (runs,). A layout may come several times.

    `hints` are the cheap scores of the same layouts (runs,), any unit, higher is better; None: no
    cheap score. `seeds` are those of the training (runs,); None: all different. A layout that has
    one seed twice, with two budgets, was paused and went on. `losses` (runs,) may be NaN where none
    is known; None: of no run.
    """

    flags: Flags
    qualities: Values
    fidelities: Values
    hints: Values | None = None
    seeds: NDArray[np.int64] | None = None
    losses: Values | None = None

    @classmethod
    def of(cls, flags: Flags, qualities: Values, hints: Values | None = None) -> Self:
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

    def with_more(self, more: "Runs") -> "Runs":
        """Return these runs and `more`, which have seeds of their own."""
        hints, losses, seeds = None, None, self.seeds
        if self.hints is not None and more.hints is not None:
            hints = np.concatenate([self.hints, more.hints])
        if self.losses is not None and more.losses is not None:
            losses = np.concatenate([self.losses, more.losses])
        if seeds is not None:
            seeds = np.concatenate([seeds, seeds.max() + 1 + np.arange(len(more.flags))])
        return Runs(
            np.concatenate([self.flags, more.flags]),
            np.concatenate([self.qualities, more.qualities]),
            np.concatenate([self.fidelities, more.fidelities]),
            hints,
            seeds,
            losses,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """How what was seen becomes the process's values, and back.

    `budgets`: the shares of the full budget, rising. A level is one of them for the loss, if that
    is known, and then one for the quality: `centres` and `scales` (levels,), the latter negative
    for losses, so that more is better. `hint`: mean and spread of the cheap scores.
    """

    budgets: Values
    centres: Values
    scales: Values
    hint: tuple[float, float]

    @classmethod
    def of(cls, runs: Runs, more: Sequence[float] = ()) -> Self:
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

    def rows(self, runs: Runs) -> tuple[Rows, Values]:
        """Return what was seen, as points and values of the process."""
        budgets = np.searchsorted(self.budgets, runs.fidelities)
        seeds, courses = runs.origins()
        seen = (
            runs.qualities[None] if runs.losses is None else np.stack([runs.losses, runs.qualities])
        )
        look, run = np.nonzero(np.isfinite(seen))
        levels = budgets[run] + len(self.budgets) * look
        hints = self.hints(runs.hints)
        rows = Rows(
            coded(runs.flags[run]),
            levels,
            None if hints is None else hints[run],
            seeds[run],
            courses[run],
        )
        return rows, (seen[look, run] - self.centres[levels]) / self.scales[levels]

    def hints(self, hints: Values | None) -> Values | None:
        """Return cheap scores in the process's unit."""
        return None if hints is None else (hints - self.hint[0]) / self.hint[1]


def coded(flags: Flags) -> Values:
    """Code flags as +-1 / sqrt(depth): dot products and distances do not grow with depth.

    A dot product is then the part of the quality that adds up over layers, and an RBF kernel
    decays with the Hamming distance, for what layers do together.
    """
    return np.asarray((2.0 * flags - 1.0) / np.sqrt(flags.shape[1]), dtype=np.float64)
