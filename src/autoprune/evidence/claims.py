"""The claims of the paper (arXiv 2501.00733) and one of ours, each tested on a grid of cells."""

from collections.abc import Collection, Sequence

from autoprune.evidence.cells import Cell
from autoprune.evidence.claim import (
    Claim,
    Verdict,
    against,
    at_least,
    consistent,
    judged,
    untested,
    within,
)
from autoprune.evidence.duels import Duel, duel, pooled
from autoprune.evidence.ranking import middle, no_winner
from autoprune.evidence.verdict import points

BOTH = "paired on test rows and seeds, permutation p corrected over the cells (Holm), 95 % interval"


def claims(cells: Sequence[Cell], multilingual: Collection[str], margin: float) -> list[Claim]:
    """Test all claims on the finished cells of a grid, at least one.

    `multilingual` names those of its models that are; `margin` is a share of 1, how far below
    counts as comparable. A pruned model is the layout that is recommended by validation.
    """
    assert cells, "claims are tested on a cell"
    return [
        comparable(cells, margin),
        beats_pretrained(cells),
        beats_random(cells),
        middle(cells),
        no_winner(cells),
        monolingual(cells, multilingual),
        searched(cells, margin),
    ]


def comparable(cells: Sequence[Cell], margin: float) -> Claim:
    """Judge (a): pruned models are comparable to the full one."""
    statement = "Pruned models are comparable to the full one"
    most = f"{100 * margin:g} point{'s' * (margin != 0.01)}"
    test = f"the interval of recommended minus full is above −{most}; {BOTH}"
    duels = _own(cells, "full")
    if not duels:
        return untested("a", statement, test, "the full model could not be trained")
    findings, effect = judged(duels, within(margin)), pooled(duels)
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
        told += f"; on average the interval reaches {points(effect.low)}"
    return Claim("a", statement, test, "recommended − full", effect, findings, verdict, told)


def beats_pretrained(cells: Sequence[Cell]) -> Claim:
    """Judge (b) against the small models that were pre-trained from scratch."""
    statement = "Pruned models consistently beat small models pre-trained from scratch"
    duels = [
        one
        for cell in cells
        for rival in cell.rivals
        if (one := duel(cell, cell.recommended, rival))
    ]
    test = f"recommended minus each rival, ahead in each cell; {BOTH}"
    if not duels:
        return untested("b1", statement, test, "the plan names no rival that was pre-trained")
    return consistent("b1", statement, test, "recommended − rival", duels)


def beats_random(cells: Sequence[Cell]) -> Claim:
    """Judge (b) against the same shape with random weights, fine-tuned only."""
    statement = "Pruned models consistently beat equally deep models with random weights"
    test = f"recommended minus scratch, ahead in each cell; {BOTH}"
    duels = _own(cells, "scratch")
    if not duels:
        return untested("b2", statement, test, "no model with random weights could be trained")
    return consistent("b2", statement, test, "recommended − scratch", duels)


def monolingual(cells: Sequence[Cell], multilingual: Collection[str]) -> Claim:
    """Judge (e): models of one language beat those of several."""
    statement = "Monolingual models beat multilingual ones"
    test = f"recommended of one minus recommended of the other, same task and depth; {BOTH}"
    duels = [
        Duel(
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
        return untested("e", statement, test, "the finished cells hold no model of each kind")
    return consistent("e", statement, test, "monolingual − multilingual", duels)


def searched(cells: Sequence[Cell], margin: float) -> Claim:
    """Judge (f): what the search recommends is at least as good as the best fixed strategy."""
    statement = "A searched layout is at least as good as the best fixed strategy"
    test = (
        "recommended minus the best fixed strategy, both chosen by validation: worse in no cell, "
        f"not below on average, its interval above −{100 * margin:g}; {BOTH}"
    )
    duels = [one for cell in cells if (one := duel(cell, cell.recommended, cell.reference))]
    findings, effect = judged(duels, at_least(margin)), pooled(duels)
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
        told += f"; on average {points(effect.mean)}, the interval reaches {points(effect.low)}"
    name = "recommended − best fixed"
    return Claim("f", statement, test, name, effect, findings, verdict, told)


def _own(cells: Sequence[Cell], other: str) -> list[Duel]:
    """Return the duels of what each cell recommends with the entrant `other`."""
    return [one for cell in cells if (one := duel(cell, cell.recommended, other))]
