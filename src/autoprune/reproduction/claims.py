"""The claims of the paper (arXiv 2501.00733) and one of ours, each tested on a grid of cells."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal

from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.statistics import holm_correction
from autoprune.evaluation.verdict import format_points
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reproduction.paired_tests import (
    CellResult,
    PairedTest,
    PairedTestResult,
    corrected_results,
    paired_test,
    pooled_p_value,
)

Verdict = Literal["supported", "contradicted", "undecided", "untested"]


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What one duel in one cell says of a claim."""

    tested: PairedTestResult
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and what became of it.

    `statement` is what is claimed, `test` how it is tested; `effect` is the mean difference over
    the cells, `effect_of` names it, both None and empty where it was not tested; `reason` tells in
    a sentence why the verdict is as it is.
    """

    letter: str
    statement: str
    test: str
    effect_of: str
    effect: PairedDifference | None
    findings: tuple[ClaimResult, ...]
    verdict: Verdict
    reason: str

    def of_cell(self, cell: str) -> Verdict:
        """Return the verdict of one cell: one duel against suffices, all are needed for."""
        said = {one.verdict for one in self.findings if one.tested.cell == cell}
        if not said:
            return "untested"
        if "contradicted" in said:
            return "contradicted"
        return "supported" if said == {"supported"} else "undecided"


def untested_claim(letter: str, statement: str, test: str, reason: str) -> Claim:
    """Return a claim that the grid cannot test."""
    return Claim(letter, statement, test, "", None, (), "untested", reason)


def beats(one: PairedTestResult) -> Verdict:
    """Judge the claim that the first is better than the second."""
    return "supported" if one.better else "contradicted" if one.worse else "undecided"


def within(margin: float) -> Callable[[PairedTestResult], Verdict]:
    """Return the judge of the claim that the first is at most `margin` below the second."""

    def judge(one: PairedTestResult) -> Verdict:
        if one.difference.low > -margin:
            return "supported"
        return "contradicted" if one.worse and one.difference.high < -margin else "undecided"

    return judge


def at_least(margin: float) -> Callable[[PairedTestResult], Verdict]:
    """Return the judge of the claim that the first is no worse, and at most `margin` below."""

    def judge(one: PairedTestResult) -> Verdict:
        if one.worse:
            return "contradicted"
        return "supported" if one.difference.low > -margin else "undecided"

    return judge


def judged(
    duels: Sequence[PairedTest], judge: Callable[[PairedTestResult], Verdict]
) -> tuple[ClaimResult, ...]:
    """Test all duels of a claim together and judge each."""
    return tuple(ClaimResult(one, judge(one)) for one in corrected_results(duels))


def against(findings: Sequence[ClaimResult]) -> list[str]:
    """Name the cells that contradict a claim."""
    cells = [one.tested.cell for one in findings if one.verdict == "contradicted"]
    return list(dict.fromkeys(cells))


def consistent(
    letter: str, statement: str, test: str, name: str, duels: Sequence[PairedTest]
) -> Claim:
    """Judge the claim that the first of each duel beats the second consistently.

    Supported: on average above 0 with its interval, and above 0 in each cell. Contradicted: the
    average below 0 with its interval, or a cell significantly below 0.
    """
    findings, effect = judged(duels, beats), pooled_p_value(duels)
    lost = against(findings)
    behind = [one.tested.cell for one in findings if one.tested.difference.mean <= 0]
    won = sum(one.verdict == "supported" for one in findings)
    told = f"significantly better in {won} of {len(findings)} duels"
    verdict: Verdict = "undecided"
    if effect.high < 0 or lost:
        verdict = "contradicted"
        told += f", significantly worse in {len(lost)}" + (f" ({'; '.join(lost)})" if lost else "")
    elif effect.low > 0 and not behind:
        verdict = "supported"
        told += ", ahead in all"
    elif effect.low <= 0:
        told += f"; the average of {format_points(effect.mean)} points cannot be told from 0"
    else:
        told += f"; better on average, not consistently: behind in {'; '.join(behind)}"
    return Claim(letter, statement, test, name, effect, findings, verdict, told)


MIDDLE = "middle"


def middle_claim(cells: Sequence[CellResult]) -> Claim:
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
        return untested_claim(
            "c", statement, test, "the plan compares middle with no other strategy"
        )
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


def no_winner(cells: Sequence[CellResult]) -> Claim:
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
        return untested_claim("d", statement, test, reason)
    means = {name: fmean(cell.rows[name].test_mean for cell in cells) for name in names}
    leader, *rest = sorted(names, key=lambda name: -means[name])
    every = corrected_results(
        [_duel(cell, *two) for cell in cells for two in combinations(names, 2)]
    )
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
    findings = tuple(ClaimResult(one, _against(one)) for one in _turned(every, leader))
    name = f"{leader} − {rest[0]}"
    effect = over[rest[0]].difference
    return Claim("d", statement, test, name, effect, findings, verdict, told)


def compare_in_cells(cell: CellResult) -> str:
    """Say which fixed strategy is the best of a cell on test, and by how much."""
    first, *rest = sorted(cell.strategies, key=lambda name: -cell.rows[name].test_mean)
    if not rest:
        return first
    gap = cell.rows[first].test_mean - cell.rows[rest[0]].test_mean
    return f"{first} {format_points(gap)}"


def _common(cells: Sequence[CellResult]) -> list[str]:
    """Return the fixed strategies that all cells compared."""
    return [name for name in STRATEGIES if all(name in cell.answers for cell in cells)]


def _best(cell: CellResult, names: Sequence[str]) -> str:
    return max(names, key=lambda name: cell.rows[name].test_mean)


def _over_cells(
    cells: Sequence[CellResult], first: str, others: Sequence[str]
) -> dict[str, PairedTestResult]:
    """Hold `first` against each other strategy over all cells, p corrected over these."""
    gaps = [pooled_p_value([_duel(cell, first, name) for cell in cells]) for name in others]
    corrected = holm_correction([gap.p_value for gap in gaps])
    return {
        name: PairedTestResult("all cells", first, name, gap, p)
        for name, gap, p in zip(others, gaps, corrected, strict=True)
    }


def _duel(cell: CellResult, first: str, second: str) -> PairedTest:
    made = paired_test(cell, first, second)
    assert made is not None, "both entered"
    return made


def _against(one: PairedTestResult) -> Verdict:
    """Judge for the claim that the first is no winner."""
    return "supported" if one.worse else "contradicted" if one.better else "undecided"


def _turned(every: Sequence[PairedTestResult], leader: str) -> list[PairedTestResult]:
    """Return the leader's duels, the leader first in each."""
    mine = [one for one in every if leader in (one.first, one.second)]
    return [one if one.first == leader else one.turned for one in mine]


BOTH = "paired on test rows and seeds, permutation p corrected over the cells (Holm), 95 % interval"


def test_claims(
    cells: Sequence[CellResult], multilingual: Collection[str], margin: float
) -> list[Claim]:
    """Test all claims on the finished cells of a grid, at least one.

    `multilingual` names those of its models that are; `margin` is a share of 1, how far below
    counts as comparable. A pruned model is the layout that is recommended by validation.
    """
    assert cells, "claims are tested on a cell"
    return [
        same_strategies_cells(cells, margin),
        beats_pretrained(cells),
        beats_random(cells),
        middle_claim(cells),
        no_winner(cells),
        monolingual(cells, multilingual),
        searched(cells, margin),
    ]


def same_strategies_cells(cells: Sequence[CellResult], margin: float) -> Claim:
    """Judge (a): pruned models are comparable to the full one."""
    statement = "Pruned models are comparable to the full one"
    most = f"{100 * margin:g} point{'s' * (margin != 0.01)}"
    test = f"the interval of recommended minus full is above −{most}; {BOTH}"
    duels = _own(cells, "full")
    if not duels:
        return untested_claim("a", statement, test, "the full model could not be trained")
    findings, effect = judged(duels, within(margin)), pooled_p_value(duels)
    below = against(findings)
    held = sum(one.verdict == "supported" for one in findings)
    told = f"within {most} below the full model for sure in {held} of {len(findings)} cells"
    verdict: Verdict = "undecided"
    if effect.high < -margin or below:
        verdict = "contradicted"
        told += f", further below in {'; '.join(below) or 'none alone, but on average'}"
    elif effect.low > -margin:
        verdict = "supported"
        told += ", and so on average"
    else:
        told += f"; on average the interval reaches {format_points(effect.low)}"
    return Claim("a", statement, test, "recommended − full", effect, findings, verdict, told)


def beats_pretrained(cells: Sequence[CellResult]) -> Claim:
    """Judge (b) against the small models that were pre-trained from scratch."""
    statement = "Pruned models consistently beat small models pre-trained from scratch"
    duels = [
        one
        for cell in cells
        for rival in cell.rivals
        if (one := paired_test(cell, cell.recommended, rival))
    ]
    test = f"recommended minus each rival, ahead in each cell; {BOTH}"
    if not duels:
        return untested_claim("b1", statement, test, "the plan names no rival that was pre-trained")
    return consistent("b1", statement, test, "recommended − rival", duels)


def beats_random(cells: Sequence[CellResult]) -> Claim:
    """Judge (b) against the same shape with random weights, fine-tuned only."""
    statement = "Pruned models consistently beat equally deep models with random weights"
    test = f"recommended minus scratch, ahead in each cell; {BOTH}"
    duels = _own(cells, "scratch")
    if not duels:
        return untested_claim(
            "b2", statement, test, "no model with random weights could be trained"
        )
    return consistent("b2", statement, test, "recommended − scratch", duels)


def monolingual(cells: Sequence[CellResult], multilingual: Collection[str]) -> Claim:
    """Judge (e): models of one language beat those of several."""
    statement = "Monolingual models beat multilingual ones"
    test = f"recommended of one minus recommended of the other, same task and depth; {BOTH}"
    duels = [
        PairedTest(
            mine.name,
            mine.model,
            other.model,
            mine.test,
            mine.answers[mine.recommended],
            other.answers[other.recommended],
        )
        for mine in cells
        for other in cells
        if mine.model not in multilingual
        and other.model in multilingual
        and (mine.task, mine.keep, mine.test) == (other.task, other.keep, other.test)
    ]
    if not duels:
        return untested_claim("e", statement, test, "the finished cells hold no model of each kind")
    return consistent("e", statement, test, "monolingual − multilingual", duels)


def searched(cells: Sequence[CellResult], margin: float) -> Claim:
    """Judge (f): what the search recommends is at least as good as the best fixed strategy."""
    statement = "A searched layout is at least as good as the best fixed strategy"
    test = (
        "recommended minus the best fixed strategy, both chosen by validation: worse in no cell, "
        f"not below on average, its interval above −{100 * margin:g}; {BOTH}"
    )
    duels = [one for cell in cells if (one := paired_test(cell, cell.recommended, cell.reference))]
    findings, effect = judged(duels, at_least(margin)), pooled_p_value(duels)
    lost = against(findings)
    same = sum(one.same for one in duels)
    told = f"worse in {len(lost)} of {len(duels)} cells, the fixed strategy itself in {same}"
    verdict: Verdict = "undecided"
    if lost or effect.high < 0:
        verdict = "contradicted"
        told += f" ({'; '.join(lost)})" if lost else "; worse on average"
    elif effect.mean >= 0 and effect.low > -margin:
        verdict = "supported"
        sure = effect.low > 0 and effect.p_value < 0.05
        told += ", better on average" if sure else ", on average not told from it"
    else:
        told += f"; on average {format_points(effect.mean)}, the interval reaches {format_points(effect.low)}"
    name = "recommended − best fixed"
    return Claim("f", statement, test, name, effect, findings, verdict, told)


def _own(cells: Sequence[CellResult], other: str) -> list[PairedTest]:
    """Return the duels of what each cell recommends with the entrant `other`."""
    return [one for cell in cells if (one := paired_test(cell, cell.recommended, other))]
