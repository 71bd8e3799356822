"""A Gaussian process over layouts: what quality to expect of a layout not measured, how surely.

Layouts are coded as -1 and +1, so that a dot product is the part of the quality that adds up over
layers and an RBF kernel decays with the Hamming distance, for what layers do together.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from autoprune.search.space import Flags

Values = NDArray[np.float64]

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

        Length scale, shares of both parts and noise maximise the marginal likelihood, from one
        fixed start: restarts cost time and changed no choice on planted landscapes.
        """
        kernel = (
            ConstantKernel(1.0, (1e-3, 1e2)) * DotProduct(1.0, "fixed")
            + ConstantKernel(1.0, (1e-3, 1e2)) * RBF(1.0, (0.2, 5.0))
            + WhiteKernel(0.05, (1e-5, 2.0))
        )
        constant = np.ptp(qualities) == 0
        return cls._of(kernel, flags, qualities, None if constant else "fmin_l_bfgs_b")

    @classmethod
    def _of(cls, kernel: Any, flags: Flags, qualities: Values, optimizer: str | None) -> Self:
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
