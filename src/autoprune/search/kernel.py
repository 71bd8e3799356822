"""The kernel of the surrogate, and its most probable parameters with exact gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.optimize import minimize

Values = NDArray[np.float64]

_OFFSET = 1.0  # variance of the mean of each budget: it is known from few runs only

# Median and spread (of the logarithm) of each parameter's log-normal prior, for qualities of
# variance 1 and codes at most 2 apart: additive and joint effects matter alike, noise is open.
_ADDITIVE = (1.0, 0.5)
_JOINT = (1.0, 0.5)
_REACH = (1.0, 0.25)
_NOISE = (0.1, 1.5)
_WEIGHT = (0.1, 1.5)  # of the cheap score: mostly little, much where the pairs say so
_COUPLING = (1.0, 0.5)
_OWN = (0.3, 1.0)
_DRIFT = (0.1, 1.5)
_SHIFT = (0.1, 1.5)
_BOUND = 3.0  # spreads that a parameter may lie from its median


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Points of the process: `codes` (rows, depth), `levels` (rows,) from 0, the largest budget
    last, and `hints` (rows,), cheap scores of variance 1, or None.

    `seeds` (rows,) are equal where one seed trained both with the same budget; None for points
    that are no runs: the quality that is asked for is that of no seed.
    """

    codes: Values
    levels: NDArray[np.int64]
    hints: Values | None
    seeds: NDArray[np.int64] | None = None

    @property
    def share_seeds(self) -> bool:
        """Whether any two rows have a seed in common: else its effect is one with the noise."""
        if self.seeds is None:
            return False
        return len({*zip(self.seeds.tolist(), self.levels.tolist(), strict=True)}) < len(self.seeds)


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Covariance between points.

    The quality under the largest budget is `additive` over layers, plus `joint` effects that reach
    over `reach`, plus `weight` times the cheap score. A smaller budget shows it times `coupling`,
    and `own` times as much variance of its own. All are (levels,) where budgets differ; `noise` is
    the variance of one run. A seed adds effects of its own: `drift` times the variance of those of
    the layers, alike for layouts that are alike, and `shift`, the same for all.
    """

    additive: float
    joint: float
    reach: float
    weight: float
    coupling: Values
    own: Values
    noise: Values
    drift: float = 0.0
    shift: float = 0.0

    def between(self, left: Rows, right: Rows) -> Values:
        """Return the covariance of two sets of points, without noise: (left, right)."""
        shared, alike = self._levels(left, right)
        layers = self.additive * (left.codes @ right.codes.T) + self.joint * self._near(
            _squares(left, right)
        )
        alone = _same(left, right) * (self.drift * layers + self.shift)
        return np.asarray(
            shared * (layers + self.weight * _hints(left, right) + alone)
            + alike * (self.own[left.levels][:, None] * layers + _OFFSET)
        )

    def variance(self, rows: Rows) -> Values:
        """Return the variance of each point's quality under no seed: (rows,)."""
        coupling, layers = self.coupling[rows.levels] ** 2, self._alone(rows)
        hints = 0.0 if rows.hints is None else self.weight * rows.hints**2
        return np.asarray(coupling * (layers + hints) + self.own[rows.levels] * layers + _OFFSET)

    def scatter(self, rows: Rows) -> Values:
        """Return by how much runs of each point on seeds of their own vary: (rows,)."""
        seeds = self.drift * self._alone(rows) + self.shift
        return np.asarray(self.coupling[rows.levels] ** 2 * seeds + self.noise[rows.levels])

    def _alone(self, rows: Rows) -> Values:
        return np.asarray(self.additive * (rows.codes**2).sum(axis=1) + self.joint)

    def _near(self, squares: Values) -> Values:
        return np.asarray(np.exp(-squares / (2 * self.reach**2)))

    def _levels(self, left: Rows, right: Rows) -> tuple[Values, Values]:
        shared = np.outer(self.coupling[left.levels], self.coupling[right.levels])
        return shared, np.equal.outer(left.levels, right.levels).astype(np.float64)

    def slopes(self, rows: Rows) -> Iterator[Values]:
        """Yield the derivative by the logarithm of each parameter, in the order of `_free`."""
        shared, alike = self._levels(rows, rows)
        squares = _squares(rows, rows)
        additive = self.additive * (rows.codes @ rows.codes.T)
        joint = self.joint * self._near(squares)
        same = _same(rows, rows)
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
        whole = shared * (layers + self.weight * _hints(rows, rows)) + sum(alone)
        for level in range(len(self.noise) - 1):
            mine = (rows.levels == level).astype(np.float64)
            yield whole * np.add.outer(mine, mine)
            yield np.outer(mine, mine) * self.own[level] * layers
        for level in range(len(self.noise)):
            yield np.diag(self.noise[level] * (rows.levels == level))

    @classmethod
    def _at(cls, logs: Values, levels: int, hints: bool, seeds: bool) -> Self:
        values = list(np.exp(logs))
        additive, joint, reach = values[:3]
        weight = values[3] if hints else 0.0
        drift, shift = values[3 + hints : 5 + hints] if seeds else (0.0, 0.0)
        pairs, noise = values[3 + hints + 2 * seeds : -levels], values[-levels:]
        return cls(
            additive,
            joint,
            reach,
            weight,
            np.array([*pairs[0::2], 1.0]),
            np.array([*pairs[1::2], 0.0]),
            np.array(noise),
            drift,
            shift,
        )


def fitted(rows: Rows, values: Values) -> Kernel:
    """Return the most probable kernel for `values` (rows,), centred, at `rows`."""
    levels, hints, seeds = int(rows.levels.max()) + 1, rows.hints is not None, rows.share_seeds
    prior = np.array(
        [_ADDITIVE, _JOINT, _REACH]
        + [_WEIGHT] * hints
        + [_DRIFT, _SHIFT] * seeds
        + [_COUPLING, _OWN] * (levels - 1)
        + [_NOISE] * levels
    )
    start, spreads = np.log(prior[:, 0]), prior[:, 1]

    def loss(logs: Values) -> tuple[float, Values]:
        kernel = Kernel._at(logs, levels, hints, seeds)
        off = (logs - start) / spreads
        whole = kernel.between(rows, rows) + np.diag(kernel.noise[rows.levels] + 1e-8)
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
    return Kernel._at(best.x, levels, hints, seeds)


def _squares(left: Rows, right: Rows) -> Values:
    """Return squared distances; all codes have the length 1."""
    return np.asarray(np.maximum(2.0 - 2.0 * (left.codes @ right.codes.T), 0.0))


def _hints(left: Rows, right: Rows) -> Values | float:
    if left.hints is None or right.hints is None:
        return 0.0
    return np.outer(left.hints, right.hints)


def _same(left: Rows, right: Rows) -> Values | float:
    """Return 1 where one seed trained both with the same budget."""
    if left.seeds is None or right.seeds is None:
        return 0.0
    same = np.equal.outer(left.seeds, right.seeds) & np.equal.outer(left.levels, right.levels)
    return same.astype(np.float64)
