"""The verdict: what a comparison shows, in words, and no more than it shows."""

from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.metrics import METRICS


def comparison_verdict(comparison: Comparison) -> str:
    """Say in one sentence how the found layout stands against the best fixed strategy.

    `better` and `worse` are said only where the 95 % interval leaves out 0 and p < 0.05. Where
    nothing was searched, it says which strategy is best on validation.
    """
    subject, reference = comparison.subject, comparison.row(comparison.reference)
    if subject.origin == reference.origin:
        return (
            f"The best fixed strategy by mean validation quality is {reference.origin} "
            f"({reference.layout}), with {_percent(reference.test_mean)} on the test split "
            f"(95 % interval {_percent(reference.test_low)} to {_percent(reference.test_high)}; "
            f"{_sample(comparison)})."
        )
    if subject.layout == reference.layout:
        return (
            f"The search found the fixed strategy {reference.origin} itself "
            f"({reference.layout}), the best of the fixed strategies on validation: "
            f"there is nothing to tell apart ({_sample(comparison)})."
        )
    return _held_against(
        f"The found layout {subject.layout}{_also(subject, comparison)}",
        f"{reference.origin} ({reference.layout}), the best fixed strategy on validation",
        comparison.against[reference.origin],
        comparison,
    )


def against_others(comparison: Comparison) -> list[str]:
    """Say in a sentence each how the same layout stands against full, scratch and rivals."""
    subject = comparison.subject
    name = f"The layout {subject.layout}"
    others = [row for row in comparison.rows if row.origin in comparison.against]
    return [
        _held_against(name, _named(row), comparison.against[row.origin], comparison)
        for row in others
        if row.origin not in STRATEGIES
    ]


def recommendation(comparison: Comparison) -> str:
    """Say in one sentence which layout to take, and why: validation decides, never test."""
    chosen, reference = comparison.row(comparison.recommended), comparison.row(comparison.reference)
    subject = comparison.subject
    if subject.origin == reference.origin:
        return f"Recommended: {chosen.origin} ({chosen.layout}), best on validation."
    word = "above that" if chosen.origin == "found" else "at least that"
    other = reference if chosen.origin == "found" else subject
    return (
        f"Recommended: {chosen.origin} ({chosen.layout}), since its mean validation quality over "
        f"the fresh seeds, {_percent(chosen.validation_mean)}, is {word} of {other.origin}, "
        f"{_percent(other.validation_mean)}."
    )


def format_p(p_value: float) -> str:
    """Write a p-value with as many digits as it deserves.

    >>> p_text(0.0312), p_text(1e-9), p_text(1.0)
    ('0.031', '< 0.0001', '1.000')
    """
    return (
        "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}" if p_value < 0.01 else f"{p_value:.3f}"
    )


def format_points(share: float) -> str:
    """Write a difference of shares in points, with its sign.

    >>> points(0.0123), points(-0.5), points(-0.0001)
    ('+1.2', '−50.0', '0.0')
    """
    rounded = round(share * 100, 1)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def _held_against(
    name: str, other: str, difference: PairedDifference, comparison: Comparison
) -> str:
    unit = METRICS[comparison.metric].unit
    figures = (
        f"95 % interval {format_points(difference.low)} to {format_points(difference.high)}, "
        f"p {'' if difference.p_value < 0.0001 else '= '}{format_p(difference.p_value)}; "
        f"{_sample(comparison)}"
    )
    gap = f"{abs(difference.mean) * 100:.1f} {unit}"
    if difference.finding == "no difference found":
        return (
            f"No difference found between {name[0].lower()}{name[1:]} and {other}: "
            f"{format_points(difference.mean)} {unit} on the test split ({figures})."
        )
    return f"{name} is {difference.finding} by {gap} on the test split than {other} ({figures})."


def _also(subject: ComparisonRow, comparison: Comparison) -> str:
    """Say so where the found layout is that of another fixed strategy."""
    same = [r.origin for r in comparison.rows if r.layout == subject.layout and r is not subject]
    strategies = [origin for origin in same if origin in STRATEGIES]
    return f" (that of {strategies[0]})" if strategies else ""


def _named(row: ComparisonRow) -> str:
    """Name an entrant that is no strategy, for a sentence."""
    if row.origin == "full":
        return "the full model"
    if row.origin == "scratch":
        return "the model of equal depth trained from scratch"
    return f"the rival {row.origin}"


def _sample(comparison: Comparison) -> str:
    """Tell of the rows and seeds a finding rests on."""
    seeds = ", ".join(map(str, comparison.seeds))
    if len(comparison.seeds) == 1:
        return (
            f"{comparison.test_rows} test rows, only one seed, {seeds}: "
            "the noise of training is not in the interval"
        )
    return f"{comparison.test_rows} test rows, {len(comparison.seeds)} seeds: {seeds}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
