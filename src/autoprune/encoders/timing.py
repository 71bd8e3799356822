"""Timing: calls that take turns, so that other work on the machine slows all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LEAST_ROUNDS = 6  # with fewer, not even the smallest and the largest value are a 95 % interval
_WARM_UP = 2  # rounds that do not count: they allocate memory and pick kernels

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Median:
    """The median of some measurements, and its 95 % interval."""

    median: float
    low: float
    high: float


def take_turns(calls: Mapping[_K, Callable[[], object]], rounds: int) -> dict[_K, list[float]]:
    """Return the seconds that each call took in each round, after rounds that warm up.

    Every round makes all calls, every other one backwards, so that none always comes first.
    """
    seconds: dict[_K, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(-_WARM_UP, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            started = time.perf_counter()
            calls[name]()
            spent = time.perf_counter() - started
            if number >= 0:
                seconds[name].append(spent)
    return seconds


def median_of(values: Sequence[float]) -> Median:
    """Return the median of at least `LEAST_ROUNDS` values, with the interval by order statistics.

    It holds the true median with at least 95 % probability, whatever the distribution (David and
    Nagaraja, Order Statistics, section 7.1).

    >>> median_of([5, 1, 4, 2, 3, 6])
    Median(median=3.5, low=1, high=6)
    """
    assert len(values) >= LEAST_ROUNDS, "an interval takes some rounds"
    ordered, number = sorted(values), len(values)
    outside, below = 0, 0.0
    while (below := below + math.comb(number, outside) / 2**number) <= 0.025:
        outside += 1
    return Median(statistics.median(ordered), ordered[outside - 1], ordered[number - outside])
