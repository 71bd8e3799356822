"""Statistics: how sure a mean over seeds and rows is, and a paired permutation test."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import rankdata

from autoprune.layouts.layout import Layout

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


LabelArray = NDArray[np.int64]

ScoreArray = NDArray[np.float64]


def accuracy(labels: LabelArray, predicted: LabelArray) -> ScoreArray:
    """Return 1 for each row that is right, else 0."""
    return np.asarray(labels == predicted, dtype=np.float64)


def macro_f1(labels: LabelArray, predicted: LabelArray) -> ScoreArray:
    """Return macro-F1 plus each row's influence on it; (rows,), the mean is macro-F1.

    F1 of a class is 2 TP / (true + predicted); a row moves it by the linear part of that ratio
    (the infinitesimal jackknife), and the influences add up to 0.
    """
    classes = np.union1d(labels, predicted)[:, None]  # (classes, 1)
    truly, said = labels == classes, predicted == classes  # (classes, rows)
    size = (truly.sum(1) + said.sum(1))[:, None]
    f1 = 2 * (truly & said).sum(1, keepdims=True) / size
    influence = (2 * (truly & said) - f1 * (1.0 * truly + said)) / size * labels.size
    return np.asarray((f1 + influence).mean(0), dtype=np.float64)  # (classes, rows) -> (rows,)


CONTRIBUTIONS: dict[str, Callable[[LabelArray, LabelArray], ScoreArray]] = {
    "accuracy": accuracy,
    "macro-f1": macro_f1,
}

MIN_P_VALUE = 1e-90  # p-values below are given as this; terms of the sum far below it are dropped

PERMUTATIONS = 9_999  # patterns, where they cannot all be counted

TIE_TOLERANCE = 1e-9  # sums as near as this, in shares of them, are one


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_permutation_test(differences: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Return the two-sided p-value of the paired permutation test, in (0, 1].

    `differences` (rows,) are what each row gives one entrant more than the other, summed over
    seeds. If the two were alike, each row's difference could as well have the other sign: p is the
    share of all 2^rows sign patterns whose sum is at least as far from 0. It takes the trained
    models as given: the noise of training is not in it.

    Whole numbers, as of right answers, are counted exactly; for one seed this is the exact McNemar
    test. Others are held against 9,999 patterns, always the same, and their own, so that p is at
    least 1 / 10,000 and never too small (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585).
    """
    whole = np.round(differences)
    if np.allclose(differences, whole, rtol=0.0, atol=TIE_TOLERANCE):
        return _counted(whole.astype(np.int64))
    sizes, counts = np.unique(np.abs(differences).round(12), return_counts=True)
    rng, sums = np.random.default_rng(0), np.zeros(PERMUTATIONS)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        sums += size * (2 * rng.binomial(count, 0.5, PERMUTATIONS) - count)
    observed = abs(float(differences.sum())) * (1 - TIE_TOLERANCE) - TIE_TOLERANCE
    return (1 + int((np.abs(sums) >= observed).sum())) / (1 + PERMUTATIONS)


def _counted(differences: NDArray[np.int64]) -> float:
    """Count all sign patterns of whole numbers."""
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    total = int(sizes @ counts)
    observed = abs(int(differences.sum()))
    if observed == 0:
        return 1.0
    # The sum is 2 m - total, where m adds up the rows with a plus sign: for rows of one size k,
    # k times a binomial count. Convolving those over the sizes gives the distribution of m.
    first, mass = 0, np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        shares = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        kept = np.flatnonzero(shares > MIN_P_VALUE / 1e10)
        spread = np.zeros((kept[-1] - kept[0]) * size + 1)
        spread[::size] = shares[kept[0] : kept[-1] + 1]
        first += int(kept[0]) * size
        mass = np.convolve(mass, spread)
    tail = mass[max(0, (total + observed) // 2 - first) :].sum()
    return float(np.clip(2 * tail, MIN_P_VALUE, 1.0))


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


PredictionPair = NDArray[np.int64]  # (seeds, rows)

PairArrays = tuple[LabelArray, PredictionPair, PredictionPair]

_CHUNK = 1_000  # exchanges looked at together


def macro_f1_permutation_test(groups: Sequence[Sequence[PairArrays]]) -> float:
    """Return the two-sided p-value of the summed differences in macro-F1, in (0, 1].

    Each pair is two entrants' predictions, with the labels. The pairs of a group are of the same
    rows: what is said of a row is exchanged between the entrants in all of them, on all seeds, or
    in none. The difference is held against those of 9,999 random exchanges, always the same, and
    itself, so that p is at least 1 / 10,000 and never too small (Phipson and Smyth 2010,
    doi 10.2202/1544-6115.1585). It takes the trained models as given.
    """
    rng, sums, observed = np.random.default_rng(0), np.zeros(PERMUTATIONS), 0.0
    for pairs in groups:
        differ = np.any([(a != b).any(0) for _, a, b in pairs], axis=0)  # the others change nothing
        for start in range(0, PERMUTATIONS, _CHUNK):
            part = sums[start : start + _CHUNK]
            swaps = rng.integers(2, size=(len(part), differ.sum())).astype(np.float32)
            for pair in pairs:
                part += _gaps(pair, differ, swaps)
        as_it_is = np.zeros((1, differ.sum()), dtype=np.float32)
        observed += sum(float(_gaps(pair, differ, as_it_is)[0]) for pair in pairs)
    return (1 + int((np.abs(sums) >= abs(observed) - TIE_TOLERANCE).sum())) / (1 + PERMUTATIONS)


def _gaps(pair: PairArrays, differ: NDArray[np.bool_], swaps: NDArray[np.float32]) -> ScoreArray:
    """Return the mean over seeds of macro-F1, first minus second, after each exchange."""
    labels, first, second = pair
    total = np.zeros(len(swaps))
    for a, b in zip(first, second, strict=True):
        classes = np.unique(np.concatenate([labels, a, b]))
        truly, mine, theirs = (one[:, None] == classes for one in (labels, a, b))  # (rows, classes)
        moved = (theirs.astype(np.float32) - mine)[differ]
        said = swaps @ moved  # (exchanges, classes)
        right = swaps @ (moved * truly[differ])
        size = truly.sum(0)
        total += _macro(size, mine.sum(0) + said, (mine & truly).sum(0) + right)
        total -= _macro(size, theirs.sum(0) - said, (theirs & truly).sum(0) - right)
    return total / len(first)


def _macro(
    truly: NDArray[np.int64], said: NDArray[np.float32], right: NDArray[np.float32]
) -> ScoreArray:
    """Return macro-F1 of counts (exchanges, classes); classes that nothing is or says are left out.

    As `contributions.macro_f1`.
    """
    size = truly + said
    f1 = np.divide(2 * right, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(f1.sum(1) / (size > 0).sum(1), dtype=np.float64)
