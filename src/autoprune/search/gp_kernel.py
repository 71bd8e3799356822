"""Kernel of the Gaussian process: covariances, and parameters fitted by maximum a posteriori."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]

IntArray = NDArray[np.int64]

JITTER = 1e-8

_MEAN_VARIANCE = 1.0  # variance of the mean of each output: it is known from few runs only

# Median and standard deviation (of the logarithm) of each parameter's log-normal prior, for
# qualities of variance 1 and features at most 2 apart: additive and joint effects matter alike. Of
# the variance of short runs 43 to 47 % is the seed's and noise (`studies/exhaustive-*`, two tasks).
_LINEAR_VARIANCE = (1.0, 0.5)
_RBF_VARIANCE = (1.0, 0.5)
_LENGTH_SCALE = (1.0, 0.25)
_PROXY_VARIANCE = (0.1, 1.5)  # mostly little, much where the pairs agree with the proxy
_SEED_LAYER_VARIANCE = (0.1, 1.5)
_SEED_OFFSET_VARIANCE = (0.1, 1.5)
_CORRELATION_ODDS = (1.0, 1.5)
_COREGIONALIZATION = (1.0, 0.5)
_SPECIFIC_VARIANCE = (0.3, 1.0)
_NOISE_VARIANCE = (0.3, 1.0)

_BOUND = 3.0  # standard deviations that a parameter may lie from its median


@dataclass(frozen=True, slots=True, eq=False)
class KernelRows:
    """Inputs of the process.

    features: flags as `encode_flags` returns them, (rows, depth).
    outputs: (rows,) from 0. An output is what was measured (loss or quality) at one budget; the
        last one is the quality at the largest budget.
    proxy_scores: (rows,) with variance 1, or None.
    seeds, run_ids: (rows,), equal where one seed trained both rows, or where both were measured in
        one run, paused or at its end. None: the seed-free quality is wanted.
    """

    features: FloatArray
    outputs: IntArray
    proxy_scores: FloatArray | None
    seeds: IntArray | None = None
    run_ids: IntArray | None = None

    @property
    def shares_seeds(self) -> bool:
        """Whether two runs have the same seed: otherwise its effect cannot be told from noise."""
        if self.seeds is None or self.run_ids is None:
            return False
        return len(np.unique(self.seeds)) < len(np.unique(self.run_ids))

    @property
    def has_several_outputs(self) -> bool:
        """Whether any run has more than one output."""
        return self.run_ids is not None and len(np.unique(self.run_ids)) < len(self.run_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Covariance between rows.

    The quality at the largest budget is a sum of effects of single layers (`linear_variance`),
    joint effects (an RBF kernel, `rbf_variance` and `length_scale`) and the proxy score
    (`proxy_variance`). Each other output is that quality times `coregionalization`, plus effects of
    its own: of single layers and joint ones, whose variance is `specific_variance` times that of
    the quality's. `noise_variance` is the variance of a single run. These three are (outputs,).

    A seed adds its own effects: `seed_layer_variance` times that variance, similar for similar
    layouts, and `seed_offset_variance`, the same for all layouts. Effects of seed and noise have
    the correlation `noise_correlation` between loss and quality of one run, and between its pause
    and its end.
    """

    linear_variance: float
    rbf_variance: float
    length_scale: float
    proxy_variance: float
    coregionalization: FloatArray
    specific_variance: FloatArray
    noise_variance: FloatArray
    seed_layer_variance: float = 0.0
    seed_offset_variance: float = 0.0
    noise_correlation: float = 0.0

    def covariance(self, left: KernelRows, right: KernelRows) -> FloatArray:
        """Return the covariance of two sets of rows without noise: (left, right)."""
        shared, same_output = self._output_factors(left, right)
        layers = self.linear_variance * (
            left.features @ right.features.T
        ) + self.rbf_variance * self._rbf(_squared_distances(left, right))
        seed = self._seed_correlation(left, right) * (
            self.seed_layer_variance * layers + self.seed_offset_variance
        )
        return np.asarray(
            shared * (layers + self.proxy_variance * _proxy_products(left, right) + seed)
            + same_output
            * (self.specific_variance[left.outputs][:, None] * layers + _MEAN_VARIANCE)
        )

    def variance(self, rows: KernelRows) -> FloatArray:
        """Return the variance of each row's seed-free value: (rows,)."""
        factors, layers = self.coregionalization[rows.outputs] ** 2, self._layer_variance(rows)
        proxy = 0.0 if rows.proxy_scores is None else self.proxy_variance * rows.proxy_scores**2
        return np.asarray(
            factors * (layers + proxy)
            + self.specific_variance[rows.outputs] * layers
            + _MEAN_VARIANCE
        )

    def noise_covariance(self, left: KernelRows, right: KernelRows) -> FloatArray | float:
        """Return the covariance of the noise of rows, 0 unless both are runs: (left, right)."""
        if left.run_ids is None or right.run_ids is None:
            return 0.0
        noise = np.outer(self.noise_variance[left.outputs], self.noise_variance[right.outputs])
        return np.asarray(
            np.sqrt(noise) * self._correlation(left, right, left.run_ids, right.run_ids)
        )

    def run_covariance(self, rows: KernelRows, output: int, other: int) -> FloatArray:
        """Return the covariance of two outputs of one run with a new seed, noise included: (rows,).

        With `output == other` that is the variance of what a run shows.
        """
        factors = self.coregionalization[output] * self.coregionalization[other]
        layers = self._layer_variance(rows)
        proxy = 0.0 if rows.proxy_scores is None else self.proxy_variance * rows.proxy_scores**2
        correlation = 1.0 if output == other else self.noise_correlation
        total = factors * (
            layers
            + proxy
            + correlation * (self.seed_layer_variance * layers + self.seed_offset_variance)
        )
        total += correlation * np.sqrt(self.noise_variance[output] * self.noise_variance[other])
        return np.asarray(
            total + (output == other) * (self.specific_variance[output] * layers + _MEAN_VARIANCE)
        )

    def gradients(self, rows: KernelRows) -> Iterator[FloatArray]:
        """Yield the derivative of the covariance with noise by the logarithm of each parameter."""
        shared, same_output = self._output_factors(rows, rows)
        squares = _squared_distances(rows, rows)
        linear = self.linear_variance * (rows.features @ rows.features.T)
        rbf = self.rbf_variance * self._rbf(squares)
        seed = self._seed_correlation(rows, rows)
        factors = (
            shared * (1 + self.seed_layer_variance * seed)
            + same_output * self.specific_variance[rows.outputs][:, None]
        )
        yield factors * linear
        yield factors * rbf
        yield factors * rbf * squares / self.length_scale**2
        if rows.proxy_scores is not None:
            yield shared * self.proxy_variance * _proxy_products(rows, rows)
        layers = linear + rbf
        seed_parts = (
            shared * seed * self.seed_layer_variance * layers,
            shared * seed * self.seed_offset_variance,
        )
        if rows.shares_seeds:
            yield from seed_parts
        noise = self.noise_covariance(rows, rows)
        if rows.has_several_outputs:
            yield (1 - self.noise_correlation) * (1 - same_output) * (sum(seed_parts) + noise)
        common = shared * (layers + self.proxy_variance * _proxy_products(rows, rows)) + sum(
            seed_parts
        )
        for output in range(len(self.noise_variance) - 1):
            is_output = (rows.outputs == output).astype(np.float64)
            yield common * np.add.outer(is_output, is_output)
            yield np.outer(is_output, is_output) * self.specific_variance[output] * layers
        for output in range(len(self.noise_variance)):
            is_output = 0.5 * (rows.outputs == output)
            yield noise * np.add.outer(is_output, is_output)

    @classmethod
    def from_log_params(cls, logs: FloatArray, rows: KernelRows, n_outputs: int) -> Self:
        """Return the kernel with these parameters, in the order of `gradients`."""
        values = iter(np.exp(logs).tolist())
        linear_variance, rbf_variance, length_scale = (next(values) for _ in range(3))
        proxy_variance = next(values) if rows.proxy_scores is not None else 0.0
        seed_layer, seed_offset = (next(values) if rows.shares_seeds else 0.0 for _ in range(2))
        correlation = 1 / (1 + 1 / next(values)) if rows.has_several_outputs else 0.0
        pairs = np.array([next(values) for _ in range(2 * n_outputs - 2)])
        return cls(
            linear_variance,
            rbf_variance,
            length_scale,
            proxy_variance,
            coregionalization=np.append(pairs[0::2], 1.0),
            specific_variance=np.append(pairs[1::2], 0.0),
            noise_variance=np.array(list(values)),
            seed_layer_variance=seed_layer,
            seed_offset_variance=seed_offset,
            noise_correlation=correlation,
        )

    def _seed_correlation(self, left: KernelRows, right: KernelRows) -> FloatArray | float:
        """Return the correlation of the seeds' effects on two sets of rows."""
        if left.seeds is None or right.seeds is None:
            return 0.0
        return self._correlation(left, right, left.seeds, right.seeds)

    def _correlation(
        self, left: KernelRows, right: KernelRows, left_ids: IntArray, right_ids: IntArray
    ) -> FloatArray:
        """Return 1 for equal ids and outputs, `noise_correlation` for equal ids, 0 else."""
        same_output = np.equal.outer(left.outputs, right.outputs)
        return np.where(
            np.equal.outer(left_ids, right_ids),
            np.where(same_output, 1.0, self.noise_correlation),
            0.0,
        )

    def _layer_variance(self, rows: KernelRows) -> FloatArray:
        return np.asarray(self.linear_variance * (rows.features**2).sum(axis=1) + self.rbf_variance)

    def _rbf(self, squared_distances: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-squared_distances / (2 * self.length_scale**2)))

    def _output_factors(self, left: KernelRows, right: KernelRows) -> tuple[FloatArray, FloatArray]:
        """Return the coregionalization of each pair of rows, and 1 where both have one output."""
        shared = np.outer(
            self.coregionalization[left.outputs], self.coregionalization[right.outputs]
        )
        return shared, np.equal.outer(left.outputs, right.outputs).astype(np.float64)


def fit_map(rows: KernelRows, values: FloatArray, n_outputs: int) -> Kernel:
    """Return the maximum a posteriori kernel for centred `values` (rows,) at `rows`."""
    prior = np.array(
        [_LINEAR_VARIANCE, _RBF_VARIANCE, _LENGTH_SCALE]
        + [_PROXY_VARIANCE] * (rows.proxy_scores is not None)
        + [_SEED_LAYER_VARIANCE, _SEED_OFFSET_VARIANCE] * rows.shares_seeds
        + [_CORRELATION_ODDS] * rows.has_several_outputs
        + [_COREGIONALIZATION, _SPECIFIC_VARIANCE] * (n_outputs - 1)
        + [_NOISE_VARIANCE] * n_outputs
    )
    medians, deviations = np.log(prior[:, 0]), prior[:, 1]

    def negative_log_posterior(logs: FloatArray) -> tuple[float, FloatArray]:
        kernel = Kernel.from_log_params(logs, rows, n_outputs)
        offsets = (logs - medians) / deviations
        total = kernel.covariance(rows, rows) + kernel.noise_covariance(rows, rows)
        total[np.diag_indices_from(total)] += JITTER
        try:
            factor = cholesky(total, lower=True)
        except LinAlgError:  # rounding, with hardly any noise
            return 1e9, np.zeros_like(logs)
        inverse = cho_solve((factor, True), np.eye(len(values)))
        alpha = inverse @ values
        fit = 0.5 * float(values @ alpha) + float(np.log(np.diag(factor)).sum())
        difference = inverse - np.outer(alpha, alpha)
        gradient = np.array(
            [0.5 * np.vdot(difference, change) for change in kernel.gradients(rows)]
        )
        return fit + 0.5 * float(offsets @ offsets), gradient + offsets / deviations

    lower, upper = medians - _BOUND * deviations, medians + _BOUND * deviations
    best = minimize(
        negative_log_posterior,
        medians,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
    )
    return Kernel.from_log_params(best.x, rows, n_outputs)


def _squared_distances(left: KernelRows, right: KernelRows) -> FloatArray:
    """Return squared distances; all features have length 1."""
    return np.asarray(np.maximum(2.0 - 2.0 * (left.features @ right.features.T), 0.0))


def _proxy_products(left: KernelRows, right: KernelRows) -> FloatArray | float:
    if left.proxy_scores is None or right.proxy_scores is None:
        return 0.0
    return np.outer(left.proxy_scores, right.proxy_scores)
