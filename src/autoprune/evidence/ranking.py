"""Ranking: which fixed strategy is the best, and whether any is so everywhere."""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from autoprune.evidence.cells import Cell
from autoprune.evidence.claim import Claim, Finding, Verdict, beats, judged, untested
from autoprune.evidence.duels import Duel, Tested, duel, outcomes, pooled
from autoprune.evidence.statistics import holm
from autoprune.evidence.verdict import points
from autoprune.layouts.strategies import STRATEGIES

MIDDLE = "middle"


def middle(cells: Sequence[Cell]) -> Claim:
    """Judge (c): removing the middle layers is the best fixed strategy.

    Supported: better than each other one over all cells. Contradicted: one of them is better than
    it over all cells. The effect is that against the strongest other one.
    """
    statement = "Middle pruning is the most effective fixed strategy"
    test = (
        "middle minus each other fixed strategy over all cells, permutation p corrected over them "
        "(Holm) and 95 % interval; shown: against the strongest of them on test"
    )
    others = _common(cells)
    if MIDDLE not in others or len(others) < 2:
        return untested("c", statement, test, "the plan compares middle with no other strategy")
    others.remove(MIDDLE)
    over = _over_cells(cells, MIDDLE, others)
    strongest = min(others, key=lambda name: over[name].difference.mean)
    duels = [_duel(cell, MIDDLE, name) for cell in cells for name in others]
    effect = over[strongest].difference
    best = sum(_best(cell, [MIDDLE, *others]) == MIDDLE for cell in cells)
    told = f"the best on test in {best} of {len(cells)} cells"
    ahead = [name for name in others if over[name].worse]
    behind = [name for name in others if over[name].better]
    verdict: Verdict = "undecided"
    if ahead:
        verdict = "contradicted"
        told += f"; over all cells {' and '.join(ahead)} better"
    elif len(behind) == len(others):
        verdict = "supported"
        told += "; better than each other one over all cells"
    else:
        told += f"; over all cells better than {' and '.join(behind) or 'none'}, worse than none"
    name = f"middle − {strongest}"
    return Claim("c", statement, test, name, effect, judged(duels, beats), verdict, told)


def no_winner(cells: Sequence[Cell]) -> Claim:
    """Judge (d): no fixed strategy is the best for all models and data.

    Supported: each one is significantly worse than another in some cell. Contradicted: one is
    better than each other over all cells, and worse in none. The findings are the leader's.
    """
    statement = "No pruning strategy is a clear winner over models and data"
    test = (
        "each fixed strategy is worse than another in some cell, permutation p corrected over all "
        "pairs and cells (Holm) and 95 % interval; shown: the first on average minus the second"
    )
    names = _common(cells)
    if len({(cell.model, cell.task) for cell in cells}) < 2 or len(names) < 2:
        reason = "it takes two strategies, and two models or tasks"
        return untested("d", statement, test, reason)
    means = {name: fmean(cell.rows[name].test_mean for cell in cells) for name in names}
    leader, *rest = sorted(names, key=lambda name: -means[name])
    every = outcomes([_duel(cell, *two) for cell in cells for two in combinations(names, 2)])
    beaten = {one.first if one.worse else one.second for one in every if one.worse or one.better}
    over = _over_cells(cells, leader, rest)
    best = {name: sum(_best(cell, names) == name for cell in cells) for name in names}
    told = "the best on test: " + ", ".join(f"{name} in {best[name]}" for name in names)
    verdict: Verdict = "undecided"
    unbeaten = [name for name in names if name not in beaten]
    if not unbeaten:
        verdict = "supported"
        told += "; each is worse than another in some cell"
    elif leader in unbeaten and all(one.better for one in over.values()):
        verdict = "contradicted"
        told += f"; {leader} is better than each other over all cells and worse in none"
    else:
        told += f"; worse than another in no cell: {', '.join(unbeaten)}"
    findings = tuple(Finding(one, _against(one)) for one in _turned(every, leader))
    name = f"{leader} − {rest[0]}"
    effect = over[rest[0]].difference
    return Claim("d", statement, test, name, effect, findings, verdict, told)


def lead(cell: Cell) -> str:
    """Say which fixed strategy is the best of a cell on test, and by how much."""
    first, *rest = sorted(cell.strategies, key=lambda name: -cell.rows[name].test_mean)
    if not rest:
        return first
    gap = cell.rows[first].test_mean - cell.rows[rest[0]].test_mean
    return f"{first} {points(gap)}"


def _common(cells: Sequence[Cell]) -> list[str]:
    """Return the fixed strategies that all cells compared."""
    return [name for name in STRATEGIES if all(name in cell.answers for cell in cells)]


def _best(cell: Cell, names: Sequence[str]) -> str:
    return max(names, key=lambda name: cell.rows[name].test_mean)


def _over_cells(cells: Sequence[Cell], first: str, others: Sequence[str]) -> dict[str, Tested]:
    """Hold `first` against each other strategy over all cells, p corrected over these."""
    gaps = [pooled([_duel(cell, first, name) for cell in cells]) for name in others]
    corrected = holm([gap.p_value for gap in gaps])
    return {
        name: Tested("all cells", first, name, gap, p)
        for name, gap, p in zip(others, gaps, corrected, strict=True)
    }


def _duel(cell: Cell, first: str, second: str) -> Duel:
    made = duel(cell, first, second)
    assert made is not None, "both entered"
    return made


def _against(one: Tested) -> Verdict:
    """Judge for the claim that the first is no winner."""
    return "supported" if one.worse else "contradicted" if one.better else "undecided"


def _turned(every: Sequence[Tested], leader: str) -> list[Tested]:
    """Return the leader's duels, the leader first in each."""
    mine = [one for one in every if leader in (one.first, one.second)]
    return [one if one.first == leader else one.turned for one in mine]
