"""Statistics: confidence intervals, corrections for several tests, and rank correlation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from autoprune.layouts.layout import Layout
from autoprune.training.metrics import Labels, Metric

MIN_SEEDS = 3
"""The fewest seeds whose spread an interval can allow for."""

SIGNIFICANCE = 0.05
"""A p-value below this is taken as evidence of a difference."""

MIN_ROUNDS = 6
"""The fewest timings whose smallest and largest are an interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval; `row_error` is the standard error that more seeds leave."""

    mean: float
    low: float
    high: float
    row_error: float = 0.0


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


def mean_interval(values: NDArray[np.float64], level: float = SIGNIFICANCE) -> Interval:
    """Return the mean of `values` (seeds, rows) with a 95 % interval for other seeds and rows.

    Another `level` gives an interval that covers with the chance 1 - `level`.

    Seeds and rows are both samples (crossed random effects): the variance of the mean is
    MS_seed / n + (MS_row - MS_rest) / n, n = seeds x rows, the Cornfield-Tukey mean squares that
    Owen's pigeonhole bootstrap (2007, doi 10.1214/07-AOAS122) estimates too. Three seeds say
    little of the first part, so each part gets its own Student quantile and the two half-widths
    are added as squares (Howe 1974, JASA 69:789): coverage stays at 95 % or above, where one
    quantile with Satterthwaite's degrees of freedom falls to 92 %, and 88 % for two seeds.

    With fewer than three seeds only the rows are a sample, and the interval leaves out the noise of
    training: Student's quantile of two seeds is 12.7, and such an interval says nothing. Needs two
    rows; where all rows are equal (none wrong, say) the interval has no width.
    """
    seeds, rows = values.shape
    assert rows > 1, "an interval needs two rows"
    mean = float(values.mean())
    by_row, by_seed = values.mean(0) - mean, values.mean(1) - mean
    ms_row = seeds * float(by_row @ by_row) / (rows - 1)
    variance = _quantile(rows - 1, level) ** 2 * ms_row
    ms_left = ms_row  # what other seeds would not change
    if seeds >= MIN_SEEDS:
        rest = values - mean - by_row - by_seed[:, None]
        ms_rest = float((rest**2).sum()) / ((seeds - 1) * (rows - 1))
        ms_seed = rows * float(by_seed @ by_seed) / (seeds - 1)
        ms_left = max(ms_row - ms_rest, 0.0)
        of_seeds = _quantile(seeds - 1, level) ** 2 * ms_seed
        of_rows = _quantile(rows - 1, level) ** 2 * ms_left
        variance = max(variance, of_seeds + of_rows)  # never below that of the rows alone
    half = math.sqrt(variance / values.size)
    return Interval(mean, mean - half, mean + half, math.sqrt(ms_left / values.size))


def paired_interval(
    a: NDArray[np.float64], b: NDArray[np.float64], level: float = SIGNIFICANCE
) -> Interval:
    """Return the mean of `a` minus `b`, both (seeds, rows), on the same seeds and rows."""
    assert a.shape == b.shape, f"pairs need equal shapes, got {a.shape} and {b.shape}"
    return mean_interval(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), level)


def _quantile(freedom: int, level: float) -> float:
    """Return the half-width of a 1 - `level` interval in standard errors (Student's t)."""
    return float(stats.t.ppf(1 - level / 2, freedom))


SPENDING_POWER = 2

_GRID = 1001  # points of a density


@cache
def look_levels(least: int, most: int) -> Mapping[int, float]:
    """Return the level of a two-sided test after each number of seeds from `least` to `most`.

    A test at each of these levels, until one is significant, finds a difference where there is none
    with a chance of at most 0.05 in all (group-sequential test). After a share t of the seeds,
    0.05 t^2 of it are spent (Lan and DeMets 1983, doi 10.1093/biomet/70.3.659, with the spending
    function of Kim and DeMets 1987, doi 10.1093/biomet/74.1.149). The levels follow from the joint
    normal distribution of the means, and hold for Student's t as usual (Jennison and Turnbull 1999,
    chapter 4). Test rows are the same at all looks, which makes the chance smaller.

    >>> [round(level, 4) for level in look_levels(3, 5).values()]
    [0.018, 0.0238, 0.0352]
    """
    levels = {}
    grid, density, spent = np.zeros(1), np.ones(1), 0.0  # of the sum while nothing was found
    for seeds in range(least, most + 1):
        step = math.sqrt(seeds if seeds == least else 1)
        spend = SIGNIFICANCE * (seeds / most) ** SPENDING_POWER - spent

        def excess(
            bound: float,
            grid: NDArray[np.float64] = grid,
            density: NDArray[np.float64] = density,
            step: float = step,
            spend: float = spend,
        ) -> float:
            beyond = stats.norm.sf((bound - grid) / step) + stats.norm.cdf((-bound - grid) / step)
            return float(density @ beyond) - spend

        bound = float(brentq(excess, 0.0, 20 * math.sqrt(seeds)))
        levels[seeds] = 2 * float(stats.norm.sf(bound / math.sqrt(seeds)))
        following = np.linspace(-bound, bound, _GRID)
        moves = stats.norm.pdf((following[:, None] - grid) / step) / step
        weights = np.full(_GRID, following[1] - following[0])
        weights[[0, -1]] /= 2  # the trapezoidal rule
        grid, density, spent = following, (moves @ density) * weights, spent + spend
    return levels


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for multiple testing, in the same order.

    The smallest is multiplied by their number, the next by one less, and so on, none below the one
    before it (Holm 1979, Scand. J. Statist. 6:65). With a limit of 0.05, the chance that any of the
    rejected hypotheses is true is at most one in twenty, however they depend on each other.

    >>> holm_correction([0.25, 0.125, 0.5])
    [0.5, 0.375, 0.5]
    """
    corrected = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def seed_std(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation of one value a seed, None for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rank correlation in [-1, 1] with its 95 % bootstrap interval."""

    correlation: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.correlation:+.2f} ({self.low:+.2f} to {self.high:+.2f})".replace("-", "−")


def layout_rank_correlation(
    proxies: Mapping[Layout, float], results: Iterable[tuple[Layout, float]]
) -> RankCorrelation | None:
    """Compare each layout's proxy score with its mean quality; see `rank_correlation`.

    The runs of one layout are averaged, because they are not independent: counted one by one, they
    would make the interval of a worthless proxy leave out 0 too often.
    """
    runs: dict[Layout, list[float]] = {}
    for layout, quality in results:
        runs.setdefault(layout, []).append(quality)
    return rank_correlation([proxies[layout] for layout in runs], list(map(fmean, runs.values())))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Compare two scores of the same layouts; None for fewer than 5, or where one is constant.

    The same pairs always give the same interval. Resamples in which a score is constant count as
    no correlation.
    """
    pair = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    if len(first) < 5 or any(np.ptp(scores) == 0 for scores in pair):
        return None
    interval = stats.bootstrap(
        pair,
        _spearman,
        paired=True,
        vectorized=True,
        n_resamples=1_000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return RankCorrelation(float(_spearman(*pair)), float(interval.low), float(interval.high))


def _spearman(
    first: NDArray[np.float64], second: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    """Return the correlation of the ranks along `axis`, 0 where a score is constant."""
    a, b = (stats.rankdata(x, axis=axis) - (x.shape[axis] + 1) / 2 for x in (first, second))
    scale = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    correlation: NDArray[np.float64] = np.zeros_like(scale)
    np.divide((a * b).sum(axis), scale, out=correlation, where=scale > 0)
    return correlation


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """The median of several measurements, and its 95 % confidence interval."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> MedianInterval:
    """Return the median of at least `MIN_ROUNDS` values, with its interval by order statistics.

    The interval contains the true median with at least 95 % probability, whatever the distribution
    (David and Nagaraja, Order Statistics, section 7.1).

    >>> median_interval([5, 1, 4, 2, 3, 6])
    MedianInterval(median=3.5, low=1, high=6)
    """
    assert len(values) >= MIN_ROUNDS, "too few rounds for an interval"
    ordered, number = sorted(values), len(values)
    outside, below = 0, 0.0
    while (below := below + math.comb(number, outside) / 2**number) <= 0.025:
        outside += 1
    return MedianInterval(median(ordered), ordered[outside - 1], ordered[number - outside])
