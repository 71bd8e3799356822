"""Gaussian process model (surrogate): the expected quality of each layout and its uncertainty.

A Gaussian process over layouts, budgets and a proxy score. Of each run it uses quality and loss:
both measure the same thing, the loss often with less noise, as far as the runs show. Runs with
several budgets and seeds are in one model. Its main output is the quality at the largest budget;
the others are correlated with it, and each has its own noise, fitted from runs that disagree.
Sources: Swersky et al. 2013 (https://papers.nips.cc/paper/5086) for several fidelities in one
process, Letham et al. 2019 (https://arxiv.org/abs/1706.07094) for optimization under noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from scipy.linalg import cho_solve, cholesky

from autoprune.search.gp_kernel import (
    JITTER,
    FloatArray,
    IntArray,
    Kernel,
    KernelRows,
    fit_map,
)
from autoprune.search.search_space import LayerFlags

_MIN_RUNS = 10  # runs of a budget from which its standard deviation is estimated


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Measured runs; a layout may occur several times.

    flags: (runs, depth).
    qualities: (runs,).
    fidelities: share of the full budget of each run, in (0, 1], (runs,).
    proxy_scores: those of the layouts (runs,), any unit, higher is better; None: no proxy.
    seeds: of the training (runs,); None: all different. A layout with the same seed twice, at two
        budgets, was paused and continued.
    losses: (runs,), NaN where unknown; None: unknown for all.
    """

    flags: LayerFlags
    qualities: FloatArray
    fidelities: FloatArray
    proxy_scores: FloatArray | None = None
    seeds: IntArray | None = None
    losses: FloatArray | None = None

    def subsample(self, step: int) -> Self:
        """Return every `step`-th run, beginning with the first."""
        columns = [getattr(self, field.name) for field in fields(self)]
        parts: list[Any] = [None if column is None else column[::step] for column in columns]
        return type(self)(*parts)

    def seeds_and_run_ids(self) -> tuple[IntArray, IntArray]:
        """Return each run's seed, and an id that a continued run shares with its pause."""
        if self.seeds is None:
            return np.arange(len(self.flags)), np.arange(len(self.flags))
        keys = np.column_stack([self.seeds, self.flags])
        return self.seeds, np.unique(keys, axis=0, return_inverse=True)[1].ravel()

    def concat(self, more: "Observations") -> "Observations":
        """Return these runs and `more`, which get new seeds."""
        columns: dict[str, Any] = {}
        for field in fields(self):
            column, added = getattr(self, field.name), getattr(more, field.name)
            if field.name == "seeds" and column is not None:
                added = column.max() + 1 + np.arange(len(more.flags))
            is_known = column is not None and added is not None
            columns[field.name] = np.concatenate([column, added]) if is_known else None
        return Observations(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class OutputScaler:
    """Standardizes measured values, and reverses that.

    An output is the loss at one of the budgets, if losses are known, or the quality at one of them;
    losses come first, budgets rise.

    budgets: shares of the full budget, rising.
    means, scales: (outputs,), scales negative for losses, so that higher is better.
    proxy_mean, proxy_std: of the proxy scores.
    """

    budgets: FloatArray
    means: FloatArray
    scales: FloatArray
    proxy_mean: float = 0.0
    proxy_std: float = 1.0

    @classmethod
    def fit(cls, runs: Observations, more_budgets: Sequence[float] = ()) -> Self:
        """Scale each budget by its standard deviation, or if it has few runs by the largest's.

        `more_budgets` need no runs: the mean over all others is taken for theirs.
        """
        budgets = np.unique([*runs.fidelities, *more_budgets])
        budget_index = np.searchsorted(budgets, runs.fidelities)
        counts = np.bincount(budget_index, minlength=len(budgets))
        means, scales = list[float](), list[float]()
        for values, sign in ((runs.losses, -1), (runs.qualities, 1)):
            if values is None:
                continue
            is_known = np.isfinite(values)
            known = [values[(budget_index == index) & is_known] for index in range(len(budgets))]
            largest = known[int(counts.argmax())]
            default = float(largest.std()) if len(largest) else 0.0
            stds = [float(part.std()) if len(part) >= _MIN_RUNS else default for part in known]
            scales += [sign * (std or 1.0) for std in stds]
            overall = float(np.nanmean(values)) if is_known.any() else 0.0
            means += [float(part.mean()) if len(part) else overall for part in known]
        proxy_mean, proxy_std = 0.0, 1.0
        if runs.proxy_scores is not None:
            proxy_mean = float(runs.proxy_scores.mean())
            proxy_std = float(runs.proxy_scores.std()) or 1.0
        return cls(budgets, np.array(means), np.array(scales), proxy_mean, proxy_std)

    def outputs_at(self, fidelity: float) -> list[int]:
        """Return the outputs of a run with `fidelity`, one of `budgets`."""
        first = int(np.searchsorted(self.budgets, fidelity))
        return list(range(first, len(self.means), len(self.budgets)))

    def transform(self, runs: Observations) -> tuple[KernelRows, FloatArray]:
        """Return the kernel's rows and the standardized values of `runs`."""
        budget_index = np.searchsorted(self.budgets, runs.fidelities)
        seeds, run_ids = runs.seeds_and_run_ids()
        measured = (
            runs.qualities[None] if runs.losses is None else np.stack([runs.losses, runs.qualities])
        )
        metric, run = np.nonzero(np.isfinite(measured))
        outputs = budget_index[run] + len(self.budgets) * metric
        proxy_scores = self.scale_proxy(runs.proxy_scores)
        rows = KernelRows(
            encode_flags(runs.flags[run]),
            outputs,
            None if proxy_scores is None else proxy_scores[run],
            seeds[run],
            run_ids[run],
        )
        return rows, (measured[metric, run] - self.means[outputs]) / self.scales[outputs]

    def inverse_transform(self, values: FloatArray, output: int | IntArray) -> FloatArray:
        """Return standardized values of one output, or of one for each row, in their unit."""
        return np.asarray(values * self.scales[output] + self.means[output])

    def scale_proxy(self, proxy_scores: FloatArray | None) -> FloatArray | None:
        """Return standardized proxy scores."""
        return None if proxy_scores is None else (proxy_scores - self.proxy_mean) / self.proxy_std


def encode_flags(flags: LayerFlags) -> FloatArray:
    """Encode flags as +-1 / sqrt(depth), so that dot products do not grow with depth.

    A dot product of these features models what adds up over layers; an RBF kernel decays with the
    Hamming distance and models joint effects of layers.
    """
    return np.asarray((2.0 * flags - 1.0) / np.sqrt(flags.shape[1]), dtype=np.float64)


_CHUNK = 20_000  # rows predicted at once: bounds the memory for large spaces


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process given `runs`; "quality" means that at the largest budget."""

    runs: Observations
    scaler: OutputScaler
    kernel: Kernel
    rows: KernelRows
    cholesky_factor: FloatArray
    alpha: FloatArray

    @classmethod
    def fit(
        cls, runs: Observations, part: Observations | None = None, budgets: Sequence[float] = ()
    ) -> Self:
        """Fit to at least one run.

        The kernel's parameters are fitted by maximum a posteriori, from all runs, or to save time
        from `part` of them: with few runs, maximum likelihood takes noise for structure or
        structure for noise. `budgets` may have no runs; the largest of all is the one of the
        quality.
        """
        scaler = OutputScaler.fit(runs, budgets)
        rows, values = scaler.transform(runs if part is None else part)
        return cls.condition(runs, scaler, fit_map(rows, values, len(scaler.means)))

    @classmethod
    def condition(cls, runs: Observations, scaler: OutputScaler, kernel: Kernel) -> Self:
        """Return the process with this kernel, given `runs`."""
        rows, values = scaler.transform(runs)
        total = kernel.covariance(rows, rows) + kernel.noise_covariance(rows, rows)
        total[np.diag_indices_from(total)] += JITTER
        factor = cholesky(total, lower=True)
        return cls(runs, scaler, kernel, rows, factor, cho_solve((factor, True), values))

    @property
    def trust(self) -> float:
        """Posterior mean of the slope from proxy score to quality, both standardized.

        0 for a proxy score that the study's own runs do not support.
        """
        if self.rows.proxy_scores is None:
            return 0.0
        effect = self.kernel.coregionalization[self.rows.outputs] * self.rows.proxy_scores
        return float(self.kernel.proxy_variance * effect @ self.alpha)

    def predict(
        self, flags: LayerFlags, proxy_scores: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noise-free quality: (rows,) each."""
        means, stds = [], []
        for start in range(0, len(flags), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rows = self._rows(flags[chunk], None if proxy_scores is None else proxy_scores[chunk])
            cross = self.kernel.covariance(rows, self.rows)  # (chunk, measured)
            variance = self.kernel.variance(rows) - np.einsum(
                "pr,rp->p", cross, cho_solve((self.cholesky_factor, True), cross.T)
            )
            means.append(self.scaler.inverse_transform(cross @ self.alpha, -1))
            stds.append(np.sqrt(np.maximum(variance, 0.0)) * self.scaler.scales[-1])
        return np.concatenate(means), np.concatenate(stds)

    def predict_output(
        self,
        flags: LayerFlags,
        output: int | IntArray,
        proxy_scores: FloatArray | None = None,
    ) -> FloatArray:
        """Return the seed-free mean of one output, or of one for each row: (rows,)."""
        rows = self._rows(flags, proxy_scores, output)
        mean = self.kernel.covariance(rows, self.rows) @ self.alpha
        return self.scaler.inverse_transform(mean, output)

    def posterior_mean_shift(
        self,
        flags: LayerFlags,
        proxy_scores: FloatArray | None,
        fidelity: float,
        paused: IntArray | None = None,
    ) -> FloatArray:
        """Return how far one more run shifts each posterior mean: (metrics, rows, runs).

        Entry [k, i, j]: the change of the mean of row `i`, when row `j` is run with `fidelity`
        (one of the runs') on a new seed, and metric `k`, the loss and then what the quality adds
        to it, is one standard deviation above its mean. With `paused`, indices of measured runs,
        run `j` is that one continued.
        """
        rows, shifts = self._rows(flags, proxy_scores), list[FloatArray]()
        outputs = self.scaler.outputs_at(fidelity)
        if paused is None:
            runs = [self._rows(flags, proxy_scores, output) for output in outputs]
        else:
            seeds, run_ids = (ids[paused] for ids in self.runs.seeds_and_run_ids())
            known = self.runs.proxy_scores
            scores = None if known is None else known[paused]
            new_rows = [self._rows(self.runs.flags[paused], scores, output) for output in outputs]
            runs = [replace(new, seeds=seeds, run_ids=run_ids) for new in new_rows]
        crosses = [
            self.kernel.covariance(run, self.rows) + self.kernel.noise_covariance(run, self.rows)
            for run in runs
        ]
        to_measured = self.kernel.covariance(rows, self.rows)
        solved = [cho_solve((self.cholesky_factor, True), cross.T) for cross in crosses]
        to_runs = [  # posterior covariance of rows and runs, (rows, runs) each
            self.kernel.covariance(rows, run) - to_measured @ part
            for run, part in zip(runs, solved, strict=True)
        ]

        def run_covariance(first: int, second: int) -> FloatArray:
            explained = np.einsum("pr,rp->p", crosses[first], solved[second])
            prior = self.kernel.run_covariance(runs[0], outputs[first], outputs[second])
            return np.asarray(prior - explained)

        rest, variance = to_runs[-1], run_covariance(-1, -1)
        if len(outputs) > 1:  # after the loss, only what the quality adds counts
            loss_variance = np.maximum(run_covariance(0, 0), JITTER)
            shifts.append(to_runs[0] / np.sqrt(loss_variance))
            rest = rest - to_runs[0] * (run_covariance(0, 1) / loss_variance)
            variance = variance - run_covariance(0, 1) ** 2 / loss_variance
        shifts.append(rest / np.sqrt(np.maximum(variance, JITTER)))
        return np.asarray(np.stack(shifts) * self.scaler.scales[-1])

    def fantasize(
        self, flags: LayerFlags, fidelities: FloatArray, proxy_scores: FloatArray | None = None
    ) -> Self:
        """Return the process given that runs under way end with their expected values.

        The kernel stays the same, since fantasies teach nothing about it. Budgets that no run has
        had yet are left out.
        """
        is_known = np.isin(fidelities, self.scaler.budgets)
        flags, fidelities = flags[is_known], fidelities[is_known]
        proxy_scores = None if proxy_scores is None else proxy_scores[is_known]
        if not len(flags):
            return self
        n_budgets, n_outputs = len(self.scaler.budgets), len(self.scaler.means)
        budget_index = np.searchsorted(self.scaler.budgets, fidelities)
        values = [
            self.predict_output(flags, budget_index + first, proxy_scores)
            for first in range(0, n_outputs, n_budgets)
        ]
        losses = None if self.runs.losses is None else values[0]
        fantasies = Observations(flags, values[-1], fidelities, proxy_scores, losses=losses)
        return self.condition(self.runs.concat(fantasies), self.scaler, self.kernel)

    def _rows(
        self,
        flags: LayerFlags,
        proxy_scores: FloatArray | None,
        output: int | IntArray = -1,
    ) -> KernelRows:
        assert (proxy_scores is None) == (self.rows.proxy_scores is None), "proxy scores: all or no"
        outputs = np.broadcast_to(np.asarray(output) % len(self.scaler.means), len(flags))
        return KernelRows(encode_flags(flags), outputs, self.scaler.scale_proxy(proxy_scores))
