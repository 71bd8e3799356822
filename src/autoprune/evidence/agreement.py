"""Agreement: how far a cheap score ranks layouts as their runs do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autoprune.layouts.layout import Layout

_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman's rank correlation in [-1, 1] with its 95 % bootstrap interval."""

    correlation: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.correlation:+.2f} ({self.low:+.2f} to {self.high:+.2f})".replace("-", "−")


def borne_out(
    hints: Mapping[Layout, float], results: Iterable[tuple[Layout, float]]
) -> Agreement | None:
    """Compare the cheap score of each layout with its mean quality; see `agreement`.

    Runs of one layout are no independent evidence: taken as such, they would make the interval of
    a worthless score leave out 0 too often.
    """
    runs: dict[Layout, list[float]] = {}
    for layout, quality in results:
        runs.setdefault(layout, []).append(quality)
    return agreement([hints[layout] for layout in runs], [fmean(each) for each in runs.values()])


def agreement(hints: Sequence[float], qualities: Sequence[float]) -> Agreement | None:
    """Compare two scores of the same layouts; None for fewer than 5, or where one is constant.

    Same pairs, same interval. Resamples in which a score is constant count as no correlation.
    """
    pairs = np.array([hints, qualities], dtype=np.float64)
    if pairs.shape[1] < 5 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(pairs.shape[1], size=(_RESAMPLES, pairs.shape[1]))
    low, high = np.quantile(_spearman(pairs[:, drawn]), (0.025, 0.975))
    return Agreement(float(_spearman(pairs)), float(low), float(high))


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of the two scores' ranks, 0 for a constant: (2, ..., n) -> (...)."""
    ranks = rankdata(pairs, axis=-1) - (pairs.shape[-1] + 1) / 2
    together = (ranks[0] * ranks[1]).sum(-1)
    spread = np.sqrt((ranks**2).sum(-1).prod(0))
    found: NDArray[np.float64] = np.zeros_like(together)
    np.divide(together, spread, out=found, where=spread > 0)
    return found
