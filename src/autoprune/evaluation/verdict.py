"""Verdict: what a comparison shows, in words, and no more than it shows."""

from collections.abc import Sequence

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.racing import EQUAL_WITHIN, judge
from autoprune.evaluation.statistics import MIN_SEEDS, SIGNIFICANCE
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.metrics import METRICS


def comparison_verdict(comparison: Comparison) -> str:
    """Return a sentence that compares the found layout with the best fixed strategy.

    It says `better` or `worse` only where the 95 % interval leaves out 0 and p < 0.05. Without a
    search it names the strategy that is best on validation.
    """
    subject, reference = comparison.subject, comparison.row(comparison.reference)
    metric = METRICS[comparison.metric]
    sample = describe_sample(comparison.test_rows, comparison.seeds)
    if comparison.recommended is None:
        majority = comparison.simple_row("majority")
        assert majority is not None, "it was compared with the layouts"
        return (
            f"Nothing was learned: on the test split {name_judged(comparison)} clearly better "
            f"than a model that {majority.description} ({metric.format(majority.test_mean)}; "
            f"{sample})."
        )
    if subject.origin == reference.origin:
        ends = (reference.test_low, reference.test_high)[:: metric.sign]
        low, high = map(metric.format, ends)
        failed = next((line for line in comparison.left_out if line.startswith("found ")), "")
        lost = f"The found layout is not compared: {failed}. " if comparison.found_failed else ""
        return (
            f"{lost}The best fixed strategy by mean validation quality is {reference.origin} "
            f"({reference.layout}), with {metric.format(reference.test_mean)} on the test split "
            f"(95 % interval {low} to {high}; {sample})."
        )
    if subject.layout == reference.layout:
        return (
            f"The search found the fixed strategy {reference.origin} itself "
            f"({reference.layout}), the best of the fixed strategies on validation: "
            f"there is no difference to test ({sample})."
        )
    alike = [row.origin for row in comparison.rows if row.layout == subject.layout]
    strategy = next((f" (that of {origin})" for origin in alike if origin in STRATEGIES), "")
    name = f"The found layout {subject.layout}{strategy}"
    other = f"{reference.origin} ({reference.layout}), the best fixed strategy on validation"
    difference = comparison.against[reference.origin]
    if is_equal(comparison):
        return (
            f"{name} and {other} are equal within {100 * EQUAL_WITHIN:g} "
            f"{metric.unit.replace('points', 'point', 1)}: "
            f"{metric.format_difference(difference.mean)} on the test split "
            f"({describe_interval(difference)}; {sample})."
        )
    return describe_difference(name, other, difference, sample)


def is_equal(comparison: Comparison) -> bool:
    """Return whether a range of seeds ended because the two layouts are equal within a point."""
    difference, schedule = comparison.against.get(comparison.reference), comparison.schedule
    if difference is None or not schedule.is_open:
        return False
    return judge(difference, schedule, comparison.metric) == "equal"


def name_judged(comparison: Comparison) -> str:
    """Say which layouts were asked whether they learned anything, as the start of a denial."""
    subject, reference = comparison.subject.origin, comparison.reference
    return (
        f"{reference} is not" if subject == reference else f"neither {subject} nor {reference} is"
    )


def describe_seeds(comparison: Comparison) -> list[str]:
    """Say why not all seeds were used, and which entrants have fewer, a sentence each."""
    schedule, used = comparison.schedule, len(comparison.seeds)
    sentences = []
    if schedule.is_open:
        most, reference = len(schedule.seeds), comparison.reference
        sentence = f"{used} of {schedule.minimum} to {most} seeds were used"
        gap = comparison.against.get(reference)
        reasons = {
            "": "",
            "too few rows": ": more seeds would not make it clear, more test rows may",
            "equal": f": {reference} is surely as good, within {100 * EQUAL_WITHIN:g} "
            f"{METRICS[comparison.metric].unit.replace('points', 'point', 1)}",
        }
        if comparison.subject.layout == comparison.row(reference).layout:
            sentence += f": the layout is that of {reference}"
        elif gap is not None:
            state = judge(gap, schedule, comparison.metric)
            sentence += reasons.get(state, f": the difference from {reference} is clear")
        sentences.append(
            f"{sentence}. Intervals and p allow for a look after each seed (group-sequential test)."
        )
    return sentences + [
        f"{row.origin} has {describe_count(row.seeds)} only: {row.stopped}."
        for row in comparison.rows
        if row.stopped
    ]


def describe_count(seeds: int) -> str:
    """Write a number of seeds.

    >>> describe_count(1), describe_count(2)
    ('1 seed', '2 seeds')
    """
    return f"{seeds} seed{'s' * (seeds > 1)}"


def against_others(comparison: Comparison) -> list[str]:
    """Return a sentence each that compares the same layout with full, scratch and rivals."""
    names = {"full": "the full model", "scratch": "the model of equal depth trained from scratch"}
    return [
        describe_difference(
            f"The layout {comparison.subject.layout}",
            names.get(row.origin, f"the rival {row.origin}"),
            comparison.against[row.origin],
            describe_sample(
                comparison.test_rows, comparison.seeds[: row.seeds], stopped=bool(row.stopped)
            ),
        )
        for row in comparison.rows
        if row.origin in comparison.against and row.origin not in STRATEGIES
    ]


def recommendation(comparison: Comparison) -> str:
    """Return a sentence on which layout to take and why: validation decides, never test.

    The test split is asked only whether that layout has learned anything.
    """
    if comparison.recommended is None:
        return "Nothing is recommended, because nothing was learned."
    chosen, reference = comparison.row(comparison.recommended), comparison.row(comparison.reference)
    subject = comparison.subject
    if comparison.recommended != comparison.best_on_validation:
        return (
            f"Recommended: {chosen.origin} ({chosen.layout}). {comparison.best_on_validation} is "
            "better on validation, but not clearly better on the test split than always "
            "giving one answer."
        )
    if subject.origin == reference.origin:
        return f"Recommended: {chosen.origin} ({chosen.layout}), best on validation."
    if chosen.origin != "found" and chosen.layout == subject.layout:
        return f"Recommended: {chosen.origin} ({chosen.layout}), which is also the layout found."
    other = reference if chosen.origin == "found" else subject
    metric = METRICS[comparison.metric]
    words = ("at least", "above") if metric.greater_is_better else ("no worse than", "better than")
    word = words[chosen.origin == "found"]
    return (
        f"Recommended: {chosen.origin} ({chosen.layout}), since its mean validation quality over "
        f"the fresh seeds, {metric.format(chosen.validation_mean)}, is {word} that of "
        f"{other.origin}, {metric.format(other.validation_mean)}."
    )


def describe_difference(name: str, other: str, difference: PairedDifference, sample: str) -> str:
    """Return a sentence that says whether `name` is better or worse than `other`, with figures."""
    metric = METRICS[difference.metric]
    figures = f"{describe_interval(difference)}; {sample}"
    if difference.finding == "no difference found":
        return (
            f"No difference found between {name[0].lower()}{name[1:]} and {other}: "
            f"{metric.format_difference(difference.mean)} {metric.unit}{metric.note} on the "
            f"test split ({figures})."
        )
    return (
        f"{name} is {difference.finding} by {metric.format_size(difference.mean)} {metric.unit} on "
        f"the test split than {other} ({figures})."
    )


def describe_interval(difference: PairedDifference) -> str:
    """Return the interval and p in words, and why they disagree where they do."""
    p_value = format_p(difference.p_value)
    format_differences = METRICS[difference.metric].format_differences
    text = (
        f"95 % interval {format_differences(difference.low, difference.high)}, "
        f"p {'' if p_value.startswith('<') else '= '}{p_value}"
    )
    if _is_wide(difference):
        return f"{text}: {_WIDE} ({_seed_range(difference)})"
    return f"{text}: {_NARROW}" if _is_narrow(difference) else text


def describe_disagreements(comparison: Comparison) -> list[str]:
    """Say of which rows the interval and the p against the reference disagree, and why."""
    gaps = {row.origin: row.difference for row in comparison.all_rows}
    wide = [f"{name} ({_seed_range(gap)})" for name, gap in gaps.items() if _is_wide(gap)]
    narrow = [name for name, gap in gaps.items() if _is_narrow(gap)]
    return [
        f"Against {comparison.reference}, {reason}: {', '.join(names)}."
        for reason, names in ((_WIDE, wide), (_NARROW, narrow))
        if names
    ]


_WIDE = (
    "p is small because these trained models differ, and the interval is wide because the seeds "
    "disagree"
)

_NARROW = "the interval leaves out 0, but the permutation test does not confirm it"


def _is_wide(gap: PairedDifference) -> bool:
    return gap.p_value < SIGNIFICANCE and gap.low <= 0 <= gap.high


def _is_narrow(gap: PairedDifference) -> bool:
    return gap.p_value >= SIGNIFICANCE and not gap.low <= 0 <= gap.high


def _seed_range(gap: PairedDifference) -> str:
    by_seed = gap.by_seed or (gap.mean,)
    return METRICS[gap.metric].format_differences(min(by_seed), max(by_seed))


def describe_sample(test_rows: int, seeds: Sequence[int], stopped: bool = False) -> str:
    """Return the rows and seeds that a result rests on, in words.

    `stopped`: one of the two has no more seeds because it was surely behind.
    """
    if stopped and len(seeds) < MIN_SEEDS:
        named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        return f"{test_rows} test rows, {named} only, for it was surely behind on validation"
    if len(seeds) >= MIN_SEEDS:
        return f"{test_rows} test rows, {len(seeds)} seeds: {', '.join(map(str, seeds))}"
    count = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return (
        f"{test_rows} test rows, only {count}, {', '.join(map(str, seeds))}: "
        "the noise of training is not in the interval"
    )


def format_p(p_value: float) -> str:
    """Write a p-value with as many digits as it deserves.

    >>> format_p(0.0312), format_p(1e-9), format_p(1.0)
    ('0.031', '< 0.0001', '1.000')
    """
    return (
        "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}" if p_value < 0.01 else f"{p_value:.3f}"
    )
