"""Pairs of layers: whether one is worth more beside another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from autoprune.evidence.layers import comparable
from autoprune.evidence.record import Record
from autoprune.evidence.tables import Table
from autoprune.evidence.verdict import points

LEAST = 2  # trials in each of the four groups, else nothing is said of a pair

EXPLAINED = (
    "How much more the trials that keep one layer score when they keep the other layer too: "
    "(both − only the first) − (only the second − neither), mean validation quality in points. "
    f"A pair is left out unless each of these four groups holds at least {LEAST} complete trials. "
    "With few trials this is mostly noise: read only what stands far out."
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers, `first` the lower one, and how they go together.

    `joint` is the difference of differences in quality; `fewest` the smallest of the four groups.
    """

    first: int
    second: int
    joint: float
    fewest: int


def pairs(trials: Sequence[Record]) -> list[Pair]:
    """Return the pairs of which comparable trials tell something, in order of their layers."""
    whole = comparable(trials)
    depth = whole[0].layout.depth if whole else 0
    return [
        pair
        for first, second in combinations(range(depth), 2)
        if (pair := _pair(first, second, whole)) is not None
    ]


def _pair(first: int, second: int, trials: Sequence[Record]) -> Pair | None:
    groups: dict[tuple[bool, bool], list[float]] = {}
    for trial in trials:
        kept = (first in trial.layout.keep, second in trial.layout.keep)
        groups.setdefault(kept, []).append(trial.score("validation").quality)
    fewest = min(map(len, groups.values())) if len(groups) == 4 else 0
    if fewest < LEAST:
        return None
    mean = {kept: fmean(qualities) for kept, qualities in groups.items()}
    joint = mean[True, True] - mean[True, False] - mean[False, True] + mean[False, False]
    return Pair(first, second, joint, fewest)


def pairs_table(found: Sequence[Pair]) -> Table:
    """Return the pairs, the one that goes together best first."""
    ranked = sorted(found, key=lambda pair: -pair.joint)
    return Table(
        "Pairs of layers",
        ("layers", "more together, points", "trials in the smallest group"),
        tuple((f"{p.first} and {p.second}", points(p.joint), str(p.fewest)) for p in ranked),
    )
