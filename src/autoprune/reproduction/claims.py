"""Claims: those of the paper (arXiv 2501.00733) and one of ours, each tested on a grid of cells.

A claim's verdict is `supported`, `contradicted`, `undecided` or `untested`. "Recommended" is the
layout that validation recommends in a cell.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal

from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.statistics import holm_correction
from autoprune.layouts.strategies import STRATEGIES
from autoprune.reproduction.paired_tests import (
    CellResult,
    PairedTest,
    PairedTestResult,
    mean_difference,
    paired_test,
    run_paired_tests,
)
from autoprune.training.metrics import METRICS

Verdict = Literal["supported", "contradicted", "undecided", "untested"]

MIDDLE = "middle"
BOTH = "paired on test rows and seeds, permutation p corrected over the cells (Holm), 95 % interval"


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The result of one paired test in one cell, and its verdict on the claim."""

    test: PairedTestResult
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and its verdict.

    `statement` is the claim, `test` how it is tested. `effect` is the mean difference over the
    cells and `effect_of` its name; None and empty where the claim was not tested. `reason` says in
    a sentence why the verdict is as it is.
    """

    letter: str
    statement: str
    test: str
    effect_of: str
    effect: PairedDifference | None
    results: tuple[ClaimResult, ...]
    verdict: Verdict
    reason: str

    def cell_verdict(self, cell: str) -> Verdict:
        """Return the verdict of one cell: one test suffices to contradict, all must support."""
        verdicts = {result.verdict for result in self.results if result.test.cell == cell}
        if not verdicts:
            return "untested"
        if "contradicted" in verdicts:
            return "contradicted"
        return "supported" if verdicts == {"supported"} else "undecided"


def judge_claims(
    cells: Sequence[CellResult], multilingual: Collection[str], margin: float
) -> list[Claim]:
    """Test all claims on the finished cells of a grid, at least one.

    `multilingual` names the multilingual ones of its models. `margin` in (0, 1) is how far below
    another model still counts as comparable.
    """
    assert cells, "claims are tested on a cell"
    return [
        judge_comparable(cells, margin),
        judge_pretrained_rivals(cells),
        judge_random_weights(cells),
        judge_middle(cells),
        judge_no_winner(cells),
        judge_monolingual(cells, multilingual),
        judge_search(cells, margin),
    ]


def judge_comparable(cells: Sequence[CellResult], margin: float) -> Claim:
    """Judge (a): pruned models are comparable to the full one."""
    statement = "Pruned models are comparable to the full one"
    metric = cells[0].metric
    allowed = metric.threshold(100 * margin)
    most = f"{allowed:g} {metric.points.removesuffix('s') if allowed == 1 else metric.points}"
    method = f"the interval of recommended minus full is above −{most}; {BOTH}"
    tests = _recommended_against(cells, "full")
    if not tests:
        return _untested("a", statement, method, "the full model could not be trained")

    def judge(result: PairedTestResult) -> Verdict:
        if result.difference.low > -margin:
            return "supported"
        return "contradicted" if result.worse and result.difference.high < -margin else "undecided"

    results, effect = _judge(tests, judge), mean_difference(tests)
    below = _contradicting_cells(results)
    within = sum(result.verdict == "supported" for result in results)
    side, cell_count = metric.sides[0], len(results)
    reason = f"within {most} {side} the full model for sure in {within} of {cell_count} cells"
    verdict: Verdict = "undecided"
    if effect.high < -margin or below:
        verdict = "contradicted"
        reason += f", further {side} in {'; '.join(below) or 'none alone, but on average'}"
    elif effect.low > -margin:
        verdict = "supported"
        reason += ", and so on average"
    else:
        reason += f"; on average the interval reaches {metric.format_difference(effect.low)}"
    return Claim("a", statement, method, "recommended − full", effect, results, verdict, reason)


def judge_pretrained_rivals(cells: Sequence[CellResult]) -> Claim:
    """Judge (b1): pruned models beat small models that were pre-trained from scratch."""
    statement = "Pruned models consistently beat small models pre-trained from scratch"
    method = f"recommended minus each rival, ahead in each cell; {BOTH}"
    tests = [paired_test(cell, cell.recommended, rival) for cell in cells for rival in cell.rivals]
    missing = "the plan names no rival that was pre-trained"
    return _judge_consistency("b1", statement, method, "recommended − rival", tests, missing)


def judge_random_weights(cells: Sequence[CellResult]) -> Claim:
    """Judge (b2): pruned models beat the same shape with random weights, fine-tuned only."""
    statement = "Pruned models consistently beat equally deep models with random weights"
    method = f"recommended minus scratch, ahead in each cell; {BOTH}"
    tests = _recommended_against(cells, "scratch")
    missing = "no model with random weights could be trained"
    return _judge_consistency("b2", statement, method, "recommended − scratch", tests, missing)


def judge_middle(cells: Sequence[CellResult]) -> Claim:
    """Judge (c): removing the middle layers is the best fixed strategy.

    Supported: better than each other one over all cells. Contradicted: one of them is better than
    it over all cells. The effect is the difference from the strongest other one.
    """
    statement = "Middle pruning is the most effective fixed strategy"
    method = (
        "middle minus each other fixed strategy over all cells, permutation p corrected over them "
        "(Holm) and 95 % interval; shown: against the strongest of them on test"
    )
    others = _common_strategies(cells)
    if MIDDLE not in others or len(others) < 2:
        reason = "the plan compares middle with no other strategy"
        return _untested("c", statement, method, reason)
    others.remove(MIDDLE)
    overall = _test_over_cells(cells, MIDDLE, others)
    strongest = min(others, key=lambda name: overall[name].difference.mean)
    tests = [paired_test(cell, MIDDLE, name) for cell in cells for name in others]
    best = sum(cell.best_on_test([MIDDLE, *others]) == MIDDLE for cell in cells)
    reason = f"the best on test in {best} of {len(cells)} cells"
    ahead = [name for name in others if overall[name].worse]
    behind = [name for name in others if overall[name].better]
    verdict: Verdict = "undecided"
    if ahead:
        verdict = "contradicted"
        reason += f"; over all cells {' and '.join(ahead)} better"
    elif len(behind) == len(others):
        verdict = "supported"
        reason += "; better than each other one over all cells"
    else:
        reason += f"; over all cells better than {' and '.join(behind) or 'none'}, worse than none"
    effect_of, effect = f"middle − {strongest}", overall[strongest].difference
    results = _judge(tests, _judge_better)
    return Claim("c", statement, method, effect_of, effect, results, verdict, reason)


def judge_no_winner(cells: Sequence[CellResult]) -> Claim:
    """Judge (d): no fixed strategy is the best for all models and data.

    Supported: each one is significantly worse than another in some cell. Contradicted: one is
    better than each other over all cells, and worse in none. The results are those of the leader.
    """
    statement = "No pruning strategy is a clear winner over models and data"
    method = (
        "each fixed strategy is worse than another in some cell, permutation p corrected over all "
        "pairs and cells (Holm) and 95 % interval; shown: the first on average minus the second"
    )
    names = _common_strategies(cells)
    if len({(cell.model, cell.task) for cell in cells}) < 2 or len(names) < 2:
        reason = "it takes two strategies, and two models or tasks"
        return _untested("d", statement, method, reason)
    leads = {name: fmean(cell.test_lead(name) for cell in cells) for name in names}
    leader, *rest = sorted(names, key=lambda name: -leads[name])
    tests = run_paired_tests(
        [paired_test(cell, *pair) for cell in cells for pair in combinations(names, 2)]
    )
    beaten = {test.first for test in tests if test.worse}
    beaten |= {test.second for test in tests if test.better}
    unbeaten = [name for name in names if name not in beaten]
    overall = _test_over_cells(cells, leader, rest)
    wins = {name: sum(cell.best_on_test(names) == name for cell in cells) for name in names}
    reason = "the best on test: " + ", ".join(f"{name} in {wins[name]}" for name in names)
    verdict: Verdict = "undecided"
    if not unbeaten:
        verdict = "supported"
        reason += "; each is worse than another in some cell"
    elif leader in unbeaten and all(test.better for test in overall.values()):
        verdict = "contradicted"
        reason += f"; {leader} is better than each other over all cells and worse in none"
    else:
        reason += f"; worse than another in no cell: {', '.join(unbeaten)}"
    of_leader = [test if test.first == leader else test.reversed for test in tests]
    results = tuple(
        ClaimResult(test, _judge_better(test.reversed))
        for test in of_leader
        if test.first == leader
    )
    effect_of, effect = f"{leader} − {rest[0]}", overall[rest[0]].difference
    return Claim("d", statement, method, effect_of, effect, results, verdict, reason)


def judge_monolingual(cells: Sequence[CellResult], multilingual: Collection[str]) -> Claim:
    """Judge (e): monolingual models beat multilingual ones."""
    statement = "Monolingual models beat multilingual ones"
    method = f"recommended of one minus recommended of the other, same task and depth; {BOTH}"
    tests = [
        PairedTest(
            cell.name,
            cell.model,
            other.model,
            cell.test_rows,
            cell.predictions[cell.recommended],
            other.predictions[other.recommended],
        )
        for cell in cells
        for other in cells
        if cell.model not in multilingual
        and other.model in multilingual
        and (cell.task, cell.keep, cell.test_rows) == (other.task, other.keep, other.test_rows)
    ]
    missing = "the finished cells hold no model of each kind"
    return _judge_consistency("e", statement, method, "monolingual − multilingual", tests, missing)


def judge_search(cells: Sequence[CellResult], margin: float) -> Claim:
    """Judge (f): the recommended layout is at least as good as the best fixed strategy."""
    statement = "A searched layout is at least as good as the best fixed strategy"
    metric = cells[0].metric
    method = (
        "recommended minus the best fixed strategy, both chosen by validation: worse in no cell, "
        f"not below on average, its interval above −{metric.threshold(100 * margin):g}; {BOTH}"
    )
    tests = [paired_test(cell, cell.recommended, cell.reference) for cell in cells]

    def judge(result: PairedTestResult) -> Verdict:
        if result.worse:
            return "contradicted"
        return "supported" if result.difference.low > -margin else "undecided"

    results, effect = _judge(tests, judge), mean_difference(tests)
    lost = _contradicting_cells(results)
    identical = sum(test.identical for test in tests)
    reason = f"worse in {len(lost)} of {len(tests)} cells, the fixed strategy itself in {identical}"
    verdict: Verdict = "undecided"
    if lost or effect.high < 0:
        verdict = "contradicted"
        reason += f" ({'; '.join(lost)})" if lost else "; worse on average"
    elif effect.mean >= 0 and effect.low > -margin:
        verdict = "supported"
        significant = effect.low > 0 and effect.p_value < 0.05
        reason += ", better on average" if significant else ", on average no difference found"
    else:
        mean, low = map(metric.format_difference, (effect.mean, effect.low))
        reason += f"; on average {mean}, the interval reaches {low}"
    effect_of = "recommended − best fixed"
    return Claim("f", statement, method, effect_of, effect, results, verdict, reason)


def _judge_consistency(
    letter: str,
    statement: str,
    method: str,
    effect_of: str,
    tests: Sequence[PairedTest],
    missing: str,
) -> Claim:
    """Judge the claim that the first of each test consistently beats the second.

    Supported: the average is above 0 with its interval, and each cell is above 0. Contradicted:
    the average is below 0 with its interval, or a cell is significantly below 0. `missing` is the
    reason where there are no tests.
    """
    if not tests:
        return _untested(letter, statement, method, missing)
    results, effect = _judge(tests, _judge_better), mean_difference(tests)
    lost = _contradicting_cells(results)
    behind = [result.test.cell for result in results if result.test.difference.mean <= 0]
    won = sum(result.verdict == "supported" for result in results)
    reason = f"significantly better in {won} of {len(results)} comparisons"
    verdict: Verdict = "undecided"
    if effect.high < 0 or lost:
        verdict = "contradicted"
        reason += f", significantly worse in {len(lost)}"
        reason += f" ({'; '.join(lost)})" if lost else ""
    elif effect.low > 0 and not behind:
        verdict = "supported"
        reason += ", ahead in all"
    elif effect.low <= 0:
        metric = METRICS[effect.metric]
        mean = f"{metric.format_difference(effect.mean)} {metric.points}{metric.note}"
        reason += f"; the average of {mean} is not significantly different from 0"
    else:
        reason += f"; better on average, not consistently: behind in {'; '.join(behind)}"
    return Claim(letter, statement, method, effect_of, effect, results, verdict, reason)


def _untested(letter: str, statement: str, method: str, reason: str) -> Claim:
    return Claim(letter, statement, method, "", None, (), "untested", reason)


def _judge(
    tests: Sequence[PairedTest], judge: Callable[[PairedTestResult], Verdict]
) -> tuple[ClaimResult, ...]:
    return tuple(ClaimResult(result, judge(result)) for result in run_paired_tests(tests))


def _judge_better(result: PairedTestResult) -> Verdict:
    return "supported" if result.better else "contradicted" if result.worse else "undecided"


def _contradicting_cells(results: Sequence[ClaimResult]) -> list[str]:
    cells = [result.test.cell for result in results if result.verdict == "contradicted"]
    return list(dict.fromkeys(cells))


def _recommended_against(cells: Sequence[CellResult], other: str) -> list[PairedTest]:
    return [
        paired_test(cell, cell.recommended, other) for cell in cells if other in cell.predictions
    ]


def _common_strategies(cells: Sequence[CellResult]) -> list[str]:
    """Return the fixed strategies that all cells compared."""
    return [name for name in STRATEGIES if all(name in cell.predictions for cell in cells)]


def _test_over_cells(
    cells: Sequence[CellResult], first: str, others: Sequence[str]
) -> dict[str, PairedTestResult]:
    """Compare `first` with each other strategy over all cells, p corrected over these."""
    differences = [
        mean_difference([paired_test(cell, first, name) for cell in cells]) for name in others
    ]
    corrected = holm_correction([difference.p_value for difference in differences])
    return {
        name: PairedTestResult("all cells", first, name, difference, p_value)
        for name, difference, p_value in zip(others, differences, corrected, strict=True)
    }
