"""Statistics: how sure a mean over seeds and rows is, and a paired permutation test."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import rankdata

from autoprune.layouts.layout import Layout
from autoprune.training.metrics import Labels, Metric

_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rank correlation in [-1, 1] with its 95 % bootstrap interval."""

    correlation: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.correlation:+.2f} ({self.low:+.2f} to {self.high:+.2f})".replace("-", "−")


def layout_rank_correlation(
    hints: Mapping[Layout, float], results: Iterable[tuple[Layout, float]]
) -> RankCorrelation | None:
    """Compare the cheap score of each layout with its mean quality; see `rank_correlation`.

    Runs of one layout are no independent evidence: taken as such, they would make the interval of
    a worthless score leave out 0 too often.
    """
    runs: dict[Layout, list[float]] = {}
    for layout, quality in results:
        runs.setdefault(layout, []).append(quality)
    return rank_correlation(
        [hints[layout] for layout in runs], [fmean(each) for each in runs.values()]
    )


def rank_correlation(hints: Sequence[float], qualities: Sequence[float]) -> RankCorrelation | None:
    """Compare two scores of the same layouts; None for fewer than 5, or where one is constant.

    Same pairs, same interval. Resamples in which a score is constant count as no correlation.
    """
    pairs = np.array([hints, qualities], dtype=np.float64)
    if pairs.shape[1] < 5 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(pairs.shape[1], size=(_RESAMPLES, pairs.shape[1]))
    low, high = np.quantile(_spearman(pairs[:, drawn]), (0.025, 0.975))
    return RankCorrelation(float(_spearman(pairs)), float(low), float(high))


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of the two scores' ranks, 0 for a constant: (2, ..., n) -> (...)."""
    ranks = rankdata(pairs, axis=-1) - (pairs.shape[-1] + 1) / 2
    together = (ranks[0] * ranks[1]).sum(-1)
    spread = np.sqrt((ranks**2).sum(-1).prod(0))
    found: NDArray[np.float64] = np.zeros_like(together)
    np.divide(together, spread, out=found, where=spread > 0)
    return found


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Return the mean of `values` (seeds, rows) with a 95 % interval for other seeds and rows.

    Seeds and rows are both samples (crossed random effects): the variance of the mean is
    MS_seed / n + (MS_row - MS_rest) / n, n = seeds x rows, the Cornfield-Tukey mean squares that
    Owen's pigeonhole bootstrap (2007, doi 10.1214/07-AOAS122) aims at too. With three seeds the
    first part is known badly, so each part gets its own Student quantile and the two half-widths
    are added as squares (Howe 1974, JASA 69:789): coverage stays at 95 % or above, where one
    quantile with Satterthwaite's degrees of freedom falls to 92 %, and 88 % for two seeds.

    With one seed the rows alone are a sample: the interval leaves out the noise of training.
    Needs two rows; where all rows are alike (none wrong, say) the interval has no width.
    """
    seeds, rows = values.shape
    assert rows > 1, "an interval needs two rows"
    mean = float(values.mean())
    by_row, by_seed = values.mean(0) - mean, values.mean(1) - mean
    row = seeds * float(by_row @ by_row) / (rows - 1)
    width = _quantile(rows - 1) ** 2 * row
    if seeds > 1:
        rest = values - mean - by_row - by_seed[:, None]
        noise = float((rest**2).sum()) / ((seeds - 1) * (rows - 1))
        seed = rows * float(by_seed @ by_seed) / (seeds - 1)
        parts = _quantile(seeds - 1) ** 2 * seed + _quantile(rows - 1) ** 2 * max(row - noise, 0.0)
        width = max(width, parts)  # never below that of the rows alone
    half = math.sqrt(width / values.size)
    return Interval(mean, mean - half, mean + half)


def paired_interval(a: NDArray[np.float64], b: NDArray[np.float64]) -> Interval:
    """Return the mean of `a` minus `b`, both (seeds, rows), on the same seeds and rows."""
    assert a.shape == b.shape, f"pairs need equal shapes, got {a.shape} and {b.shape}"
    return mean_interval(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Return each p-value corrected for being one of several, in the same order.

    The smallest is multiplied by their number, the next by one less, and so on, none below the one
    before it (Holm 1979, Scand. J. Statist. 6:65): below 0.05 there is at most one chance in twenty
    that any of the hypotheses so rejected is true, whatever they have in common.

    >>> holm([0.25, 0.125, 0.5])
    [0.5, 0.375, 0.5]
    """
    corrected = [1.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = least
    return corrected


def seed_std(values: list[float]) -> float | None:
    """Return the sample standard deviation, None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.975, freedom))


def row_contributions(metric: Metric, labels: Labels, predictions: Labels) -> NDArray[np.float64]:
    """Return what each row contributes to the quality, which is their mean; all (rows,).

    A contribution is the quality plus the row's influence on it: the linear part of what the row
    changes (the infinitesimal jackknife). The influences add up to 0.
    """
    statistics = metric.statistics(labels, predictions)  # (rows, k)
    if metric.is_mean:
        return metric.sign * statistics[:, 0].astype(np.float64)
    sums = statistics.sum(axis=0, dtype=np.float64)
    # The derivative by a complex step, exact to rounding (Squire and Trapp 1998,
    # doi 10.1137/S003614459631241X): f(x + ih) = f(x) + ih f'(x) for a tiny h.
    step = 1e-20
    gradient = np.imag(metric.value(sums + 1j * step * np.eye(sums.size))) / step
    influence = len(labels) * (statistics @ gradient)
    return np.asarray(metric.sign * (metric.value(sums) + influence), dtype=np.float64)
