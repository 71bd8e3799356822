"""A claim: its statement, how it was tested in each cell and over all cells, and the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from autoprune.evidence.answers import Difference
from autoprune.evidence.duels import Duel, Tested, outcomes, pooled
from autoprune.evidence.verdict import points

Verdict = Literal["supported", "contradicted", "undecided", "untested"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one duel in one cell says of a claim."""

    tested: Tested
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
    effect: Difference | None
    findings: tuple[Finding, ...]
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


def untested(letter: str, statement: str, test: str, reason: str) -> Claim:
    """Return a claim that the grid cannot test."""
    return Claim(letter, statement, test, "", None, (), "untested", reason)


def beats(one: Tested) -> Verdict:
    """Judge the claim that the first is better than the second."""
    return "supported" if one.better else "contradicted" if one.worse else "undecided"


def within(margin: float) -> Callable[[Tested], Verdict]:
    """Return the judge of the claim that the first is at most `margin` below the second."""

    def judge(one: Tested) -> Verdict:
        if one.difference.low > -margin:
            return "supported"
        return "contradicted" if one.worse and one.difference.high < -margin else "undecided"

    return judge


def at_least(margin: float) -> Callable[[Tested], Verdict]:
    """Return the judge of the claim that the first is no worse, and at most `margin` below."""

    def judge(one: Tested) -> Verdict:
        if one.worse:
            return "contradicted"
        return "supported" if one.difference.low > -margin else "undecided"

    return judge


def judged(duels: Sequence[Duel], judge: Callable[[Tested], Verdict]) -> tuple[Finding, ...]:
    """Test all duels of a claim together and judge each."""
    return tuple(Finding(one, judge(one)) for one in outcomes(duels))


def against(findings: Sequence[Finding]) -> list[str]:
    """Name the cells that contradict a claim."""
    cells = [one.tested.cell for one in findings if one.verdict == "contradicted"]
    return list(dict.fromkeys(cells))


def consistent(letter: str, statement: str, test: str, name: str, duels: Sequence[Duel]) -> Claim:
    """Judge the claim that the first of each duel beats the second consistently.

    Supported: on average above 0 with its interval, and above 0 in each cell. Contradicted: the
    average below 0 with its interval, or a cell significantly below 0.
    """
    findings, effect = judged(duels, beats), pooled(duels)
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
        told += f"; the average of {points(effect.mean)} points cannot be told from 0"
    else:
        told += f"; better on average, not consistently: behind in {'; '.join(behind)}"
    return Claim(letter, statement, test, name, effect, findings, verdict, told)
