"""A Gaussian process over layouts: what quality to expect of a layout not measured, how surely.

Layouts are coded as -1 and +1, so that a dot product is the part of the quality that adds up over
layers and an RBF kernel decays with the Hamming distance, for what layers do together.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from autoprune.search.space import Flags

Values = NDArray[np.float64]

_PRIOR = {
    "additive": (1.0, 0.5),
    "joint": (1.0, 0.5),
    "scale": (1.0, 0.25),
    "noise": (0.1, 1.5),
}
"""Median and spread (of the logarithm) of each parameter's log-normal prior, for qualities of
variance 1 and layouts at most 2 apart: additive and joint effects matter alike, noise is open."""

_CHUNK = 20_000  # rows predicted at once: bounds the memory for large spaces


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A Gaussian process fitted to `qualities` (runs,) of `flags` (runs, depth).

    `noise` is the fitted variance of one measurement.
    """

    process: Any
    noise: float
    flags: Flags
    qualities: Values

    @classmethod
    def fit(cls, flags: Flags, qualities: Values) -> Self:
        """Fit to `flags` (runs, depth) and `qualities` (runs,); a layout may come several times.

        Shares of both parts, length scale and noise are the most probable ones under the prior:
        the likelihood alone, with few runs, takes noise for structure or structure for noise.
        """
        kernel = (
            ConstantKernel(_PRIOR["additive"][0], (1e-3, 1e2)) * DotProduct(1.0, "fixed")
            + ConstantKernel(_PRIOR["joint"][0], (1e-3, 1e2)) * RBF(_PRIOR["scale"][0], (0.2, 5.0))
            + WhiteKernel(_PRIOR["noise"][0], (1e-5, 2.0))
        )
        return cls._of(kernel, flags, qualities, _most_probable)

    @classmethod
    def _of(
        cls, kernel: Any, flags: Flags, qualities: Values, optimizer: Callable[..., Any] | None
    ) -> Self:
        process = GaussianProcessRegressor(
            kernel, alpha=1e-8, optimizer=optimizer, normalize_y=True, random_state=0
        )
        with warnings.catch_warnings():
            # A parameter at its bound is a fair answer with few runs.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(_coded(flags), qualities)
        scale = float(np.std(qualities)) or 1.0
        noise = float(process.kernel_.k2.noise_level) * scale**2
        return cls(process, noise, flags, qualities)

    def predict(self, flags: Flags) -> tuple[Values, Values]:
        """Return mean and standard deviation of the noise-free quality: (rows,) each."""
        parts = [
            self.process.predict(_coded(flags[start : start + _CHUNK]), return_std=True)
            for start in range(0, len(flags), _CHUNK)
        ]
        mean = np.concatenate([part[0] for part in parts])
        std = np.concatenate([part[1] for part in parts])
        return mean, np.sqrt(np.maximum(std**2 - self.noise, 0.0))

    def believe(self, flags: Flags) -> Self:
        """Take the expected quality of `flags` as measured, as for runs still under way.

        The kernel is not fitted anew: a believed value teaches nothing about it.
        """
        mean, _ = self.predict(flags)
        rows = np.concatenate([self.flags, flags])
        return self._of(self.process.kernel_, rows, np.concatenate([self.qualities, mean]), None)


def _most_probable(
    objective: Callable[[Values], tuple[float, Values]], start: Values, bounds: Values
) -> tuple[Values, float]:
    """Minimise scikit-learn's `objective`, less the log-prior, from the prior's centre `start`."""
    spreads = np.array([spread for _, spread in _PRIOR.values()])

    def loss(theta: Values) -> tuple[float, Values]:
        value, slope = objective(theta)
        off = (theta - start) / spreads
        return value + 0.5 * float(off @ off), slope + off / spreads

    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(a, b) for a, b in bounds])
    return best.x, float(best.fun)


def expected_improvement(mean: Values, std: Values, incumbent: float) -> Values:
    """Return by how much each row is expected to exceed `incumbent`: (rows,).

    With noisy runs the incumbent is the best posterior mean at a measured layout, not the luckiest
    run. Jones et al. 1998, https://doi.org/10.1023/A:1008306431147.
    """
    spread = np.maximum(std, 1e-12)
    z = (mean - incumbent) / spread
    return np.asarray(spread * (z * norm.cdf(z) + norm.pdf(z)), dtype=np.float64)


def _coded(flags: Flags) -> Values:
    """Code flags as +-1 / sqrt(depth): dot products and distances do not grow with depth."""
    return np.asarray((2.0 * flags - 1.0) / np.sqrt(flags.shape[1]), dtype=np.float64)
