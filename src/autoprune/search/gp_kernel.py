"""The kernel of the surrogate, and its most probable parameters with exact gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.optimize import minimize

Matrix_ = NDArray[np.float64]

JITTER = 1e-8

_OFFSET = 1.0  # variance of the mean of each budget: it is known from few runs only

# Median and spread (of the logarithm) of each parameter's log-normal prior, for qualities of
# variance 1 and codes at most 2 apart: additive and joint effects matter alike. Of the variance
# of short runs 43 to 47 % is the seed's and noise (`studies/exhaustive-*`, two tasks).
_ADDITIVE = (1.0, 0.5)

_JOINT = (1.0, 0.5)

_REACH = (1.0, 0.25)

_NOISE = (0.3, 1.0)

_WEIGHT = (0.1, 1.5)  # of the cheap score: mostly little, much where the pairs say so

_COUPLING = (1.0, 0.5)

_OWN = (0.3, 1.0)

_DRIFT = (0.1, 1.5)

_SHIFT = (0.1, 1.5)

_TIE = (1.0, 1.5)

_BOUND = 3.0  # spreads that a parameter may lie from its median


@dataclass(frozen=True, slots=True, eq=False)
class KernelRows:
    """Points of the process: `codes` (rows, depth), `levels` (rows,) from 0, and `hints` (rows,),
    cheap scores of variance 1, or None.

    A level is a budget and what was looked at, loss or quality; the last is the quality under the
    largest budget. Of points that were run, `seeds` (rows,) are equal where one seed trained both,
    `runs` (rows,) where both were seen of one run, paused or at its end; None: the seed-free
    quality is asked for.
    """

    codes: Matrix_
    levels: NDArray[np.int64]
    hints: Matrix_ | None
    seeds: NDArray[np.int64] | None = None
    runs: NDArray[np.int64] | None = None

    @property
    def share_seeds(self) -> bool:
        """Whether any two runs have a seed in common: else its effect is one with the noise."""
        if self.seeds is None or self.runs is None:
            return False
        return len(np.unique(self.seeds)) < len(np.unique(self.runs))

    @property
    def tied(self) -> bool:
        """Whether more than one thing was seen of any run."""
        return self.runs is not None and len(np.unique(self.runs)) < len(self.runs)


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Covariance between points.

    The quality under the largest budget is `additive` over layers, plus `joint` effects that reach
    over `reach`, plus `weight` times the cheap score. Another level shows it times `coupling`,
    and `own` times as much variance of its own; `noise` is the variance of one run. All three are
    (levels,). A seed adds effects of its own: `drift` times the variance of those of the layers,
    alike for layouts that are alike, and `shift`, the same for all. What is the seed's or the
    noise's is correlated by `tie` between loss and quality of the same run, and between its pause
    and its end.
    """

    additive: float
    joint: float
    reach: float
    weight: float
    coupling: Matrix_
    own: Matrix_
    noise: Matrix_
    drift: float = 0.0
    shift: float = 0.0
    tie: float = 0.0

    def between(self, left: KernelRows, right: KernelRows) -> Matrix_:
        """Return the covariance of two sets of points, without noise: (left, right)."""
        shared, alike = self._levels(left, right)
        layers = self.additive * (left.codes @ right.codes.T) + self.joint * self._near(
            _squares(left, right)
        )
        alone = self._same(left, right) * (self.drift * layers + self.shift)
        return np.asarray(
            shared * (layers + self.weight * _hints(left, right) + alone)
            + alike * (self.own[left.levels][:, None] * layers + _OFFSET)
        )

    def variance(self, rows: KernelRows) -> Matrix_:
        """Return the variance of each point's quality under no seed: (rows,)."""
        coupling, layers = self.coupling[rows.levels] ** 2, self._alone(rows)
        hints = 0.0 if rows.hints is None else self.weight * rows.hints**2
        return np.asarray(coupling * (layers + hints) + self.own[rows.levels] * layers + _OFFSET)

    def disturbance(self, left: KernelRows, right: KernelRows) -> Matrix_:
        """Return the covariance of the noise of what was seen of runs: (left, right)."""
        assert left.runs is not None and right.runs is not None, "what no run showed has no noise"
        noise = np.outer(self.noise[left.levels], self.noise[right.levels])
        return np.asarray(np.sqrt(noise) * self._twins(left, right, left.runs, right.runs))

    def spread(self, rows: KernelRows, one: int, other: int) -> Matrix_:
        """Return how what is seen of a run on a seed of its own varies: (rows,).

        It is the covariance of what two levels show of the same run, its noise included.
        """
        coupling, layers = self.coupling[one] * self.coupling[other], self._alone(rows)
        hints = 0.0 if rows.hints is None else self.weight * rows.hints**2
        tie = 1.0 if one == other else self.tie
        spread = coupling * (layers + hints + tie * (self.drift * layers + self.shift))
        spread += tie * np.sqrt(self.noise[one] * self.noise[other])
        return np.asarray(spread + (one == other) * (self.own[one] * layers + _OFFSET))

    def _same(self, left: KernelRows, right: KernelRows) -> Matrix_ | float:
        """Return how far two rows share what their seed does."""
        if left.seeds is None or right.seeds is None:
            return 0.0
        return self._twins(left, right, left.seeds, right.seeds)

    def _twins(
        self,
        left: KernelRows,
        right: KernelRows,
        mine: NDArray[np.int64],
        theirs: NDArray[np.int64],
    ) -> Matrix_:
        """Return 1 where two rows have an origin and a level in common, `tie` where the former."""
        alike = np.equal.outer(left.levels, right.levels)
        return np.where(np.equal.outer(mine, theirs), np.where(alike, 1.0, self.tie), 0.0)

    def _alone(self, rows: KernelRows) -> Matrix_:
        return np.asarray(self.additive * (rows.codes**2).sum(axis=1) + self.joint)

    def _near(self, squares: Matrix_) -> Matrix_:
        return np.asarray(np.exp(-squares / (2 * self.reach**2)))

    def _levels(self, left: KernelRows, right: KernelRows) -> tuple[Matrix_, Matrix_]:
        shared = np.outer(self.coupling[left.levels], self.coupling[right.levels])
        return shared, np.equal.outer(left.levels, right.levels).astype(np.float64)

    def slopes(self, rows: KernelRows) -> Iterator[Matrix_]:
        """Yield the derivative of the whole covariance by the logarithm of each parameter."""
        shared, alike = self._levels(rows, rows)
        squares = _squares(rows, rows)
        additive = self.additive * (rows.codes @ rows.codes.T)
        joint = self.joint * self._near(squares)
        same = self._same(rows, rows)
        both = shared * (1 + self.drift * same) + alike * self.own[rows.levels][:, None]
        yield both * additive
        yield both * joint
        yield both * joint * squares / self.reach**2
        if rows.hints is not None:
            yield shared * self.weight * _hints(rows, rows)
        layers = additive + joint
        alone = shared * same * self.drift * layers, shared * same * self.shift
        if rows.share_seeds:
            yield from alone
        disturbance = self.disturbance(rows, rows)
        if rows.tied:
            yield (1 - self.tie) * (1 - alike) * (sum(alone) + disturbance)
        whole = shared * (layers + self.weight * _hints(rows, rows)) + sum(alone)
        for level in range(len(self.noise) - 1):
            mine = (rows.levels == level).astype(np.float64)
            yield whole * np.add.outer(mine, mine)
            yield np.outer(mine, mine) * self.own[level] * layers
        for level in range(len(self.noise)):
            mine = 0.5 * (rows.levels == level)
            yield disturbance * np.add.outer(mine, mine)

    @classmethod
    def _at(cls, logs: Matrix_, rows: KernelRows, levels: int) -> Self:
        """Return the kernel of these parameters, in the order of `slopes`."""
        values = iter(np.exp(logs).tolist())
        additive, joint, reach = (next(values) for _ in range(3))
        weight = next(values) if rows.hints is not None else 0.0
        drift, shift = (next(values) if rows.share_seeds else 0.0 for _ in range(2))
        tie = 1 / (1 + 1 / next(values)) if rows.tied else 0.0
        pairs = np.array([next(values) for _ in range(2 * levels - 2)])
        coupling, own = np.append(pairs[0::2], 1.0), np.append(pairs[1::2], 0.0)
        noise = np.array(list(values))
        return cls(additive, joint, reach, weight, coupling, own, noise, drift, shift, tie)


def fit_map(rows: KernelRows, values: Matrix_, levels: int) -> Kernel:
    """Return the most probable kernel for `values` (rows,), centred, at `rows`."""
    prior = np.array(
        [_ADDITIVE, _JOINT, _REACH]
        + [_WEIGHT] * (rows.hints is not None)
        + [_DRIFT, _SHIFT] * rows.share_seeds
        + [_TIE] * rows.tied
        + [_COUPLING, _OWN] * (levels - 1)
        + [_NOISE] * levels
    )
    start, spreads = np.log(prior[:, 0]), prior[:, 1]

    def loss(logs: Matrix_) -> tuple[float, Matrix_]:
        kernel = Kernel._at(logs, rows, levels)
        off = (logs - start) / spreads
        whole = kernel.between(rows, rows) + kernel.disturbance(rows, rows)
        whole[np.diag_indices_from(whole)] += JITTER
        try:
            factor = cholesky(whole, lower=True)
        except LinAlgError:  # rounding, with hardly any noise
            return 1e9, np.zeros_like(logs)
        inverse = cho_solve((factor, True), np.eye(len(values)))
        solved = inverse @ values
        fit = 0.5 * float(values @ solved) + float(np.log(np.diag(factor)).sum())
        pull = inverse - np.outer(solved, solved)
        slope = np.array([0.5 * np.vdot(pull, change) for change in kernel.slopes(rows)])
        return fit + 0.5 * float(off @ off), slope + off / spreads

    bounds = list(zip(start - _BOUND * spreads, start + _BOUND * spreads, strict=True))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Kernel._at(best.x, rows, levels)


def _squares(left: KernelRows, right: KernelRows) -> Matrix_:
    """Return squared distances; all codes have the length 1."""
    return np.asarray(np.maximum(2.0 - 2.0 * (left.codes @ right.codes.T), 0.0))


def _hints(left: KernelRows, right: KernelRows) -> Matrix_ | float:
    if left.hints is None or right.hints is None:
        return 0.0
    return np.outer(left.hints, right.hints)
