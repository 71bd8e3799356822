"""Swaps: the paired permutation test of macro-F1, which is no sum over rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.contributions import Labels, Values
from autoprune.evidence.statistics import ALIKE, DRAWN

Predicted = NDArray[np.int64]  # (seeds, rows)
Pair = tuple[Labels, Predicted, Predicted]

_CHUNK = 1_000  # exchanges looked at together


def swap_test(groups: Sequence[Sequence[Pair]]) -> float:
    """Return the two-sided p-value of the summed differences in macro-F1, in (0, 1].

    Each pair is two entrants' predictions, with the labels. The pairs of a group are of the same
    rows: what is said of a row is exchanged between the entrants in all of them, on all seeds, or
    in none. The difference is held against those of 9,999 random exchanges, always the same, and
    itself, so that p is at least 1 / 10,000 and never too small (Phipson and Smyth 2010,
    doi 10.2202/1544-6115.1585). It takes the trained models as given.
    """
    rng, sums, observed = np.random.default_rng(0), np.zeros(DRAWN), 0.0
    for pairs in groups:
        differ = np.any([(a != b).any(0) for _, a, b in pairs], axis=0)  # the others change nothing
        for start in range(0, DRAWN, _CHUNK):
            part = sums[start : start + _CHUNK]
            swaps = rng.integers(2, size=(len(part), differ.sum())).astype(np.float32)
            for pair in pairs:
                part += _gaps(pair, differ, swaps)
        as_it_is = np.zeros((1, differ.sum()), dtype=np.float32)
        observed += sum(float(_gaps(pair, differ, as_it_is)[0]) for pair in pairs)
    return (1 + int((np.abs(sums) >= abs(observed) - ALIKE).sum())) / (1 + DRAWN)


def _gaps(pair: Pair, differ: NDArray[np.bool_], swaps: NDArray[np.float32]) -> Values:
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
) -> Values:
    """Return macro-F1 of counts (exchanges, classes); classes that nothing is or says are left out.

    As `contributions.macro_f1`.
    """
    size = truly + said
    f1 = np.divide(2 * right, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(f1.sum(1) / (size > 0).sum(1), dtype=np.float64)
