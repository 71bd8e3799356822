"""Result warnings: what makes a result doubtful, and what to do about it, a sentence each."""

from collections.abc import Sequence

from autoprune.errors import format_count
from autoprune.evaluation.comparison import Comparison, SimpleRow
from autoprune.evaluation.records import Record
from autoprune.evaluation.statistics import MIN_SEEDS
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import describe_interval, name_judged
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts
from autoprune.training.metrics import METRICS
from autoprune.training.problem_types import PROBLEM_TYPES


def result_warnings(
    setting: StudyMetadata, comparison: Comparison, trials: Sequence[Record]
) -> tuple[str, ...]:
    """Return the warnings on a study: those on its data first, then those on its result.

    `trials` are the search's records, none for a baseline.
    """
    majority = comparison.simple_row("majority")
    simple = next((row for row in comparison.simple if row.origin != "majority"), None)
    return (
        *setting.warnings,
        *(_nothing_learned(setting, comparison, majority) if majority else []),
        *(_collapsed_seeds(comparison, majority) if majority else []),
        *(_below_simple_model(comparison, simple) if simple else []),
        *_longer_than_full(comparison),
        *_nothing_searched(setting, trials),
        *_few_seeds(comparison),
    )


def _nothing_learned(
    setting: StudyMetadata, comparison: Comparison, majority: SimpleRow
) -> list[str]:
    """Warn where no pruned layout is better than the majority label, and say what to change."""
    if comparison.recommended is not None:
        return []
    metric = METRICS[comparison.metric]
    remedies = "more --epochs and --full-epochs, another --learning-rate"
    metrics = PROBLEM_TYPES[setting.problem_type].metrics
    if comparison.metric != "macro-f1" and "macro-f1" in metrics:
        remedies += ", or --metric macro-f1, which counts all labels alike"
    others = [
        row.origin
        for row in comparison.rows
        if row.origin in STRATEGIES and comparison.has_learned(row.origin)
    ]
    full = f" {' and '.join(others)} did better, but not on validation." if others else ""
    if "full" in comparison.over_majority:
        quality = metric.format(comparison.row("full").test_mean)
        learned = comparison.has_learned("full")
        full += f" The full model is {'' if learned else 'not '}clearly better ({quality})."
        if learned:
            remedies = f"a larger --keep, {remedies}"
    return [
        f"On the test split {name_judged(comparison)} clearly better than a model that "
        f"{majority.description} ({metric.format(majority.test_mean)}), so nothing is recommended."
        f"{full} Try {remedies}."
    ]


def _collapsed_seeds(comparison: Comparison, majority: SimpleRow) -> list[str]:
    """Warn of entrants that learned nothing with some seeds, and much with others."""
    warnings, metric = [], METRICS[comparison.metric]
    for origin, seeds in comparison.collapsed.items():
        by_seed = dict(zip(comparison.seeds, comparison.row(origin).test_by_seed, strict=False))
        bad = " and ".join(f"{metric.format(by_seed[seed])} with seed {seed}" for seed in seeds)
        best = max(by_seed, key=by_seed.__getitem__)
        warnings.append(
            f"{origin} did not learn with every seed: it has {bad}, where a model that "
            f"{majority.description} has {metric.format(majority.test_mean)}, but "
            f"{metric.format(by_seed[best])} with seed {best}. Do not trust its mean and its "
            "interval; try a lower --learning-rate, more --full-epochs or more --seeds."
        )
    return warnings


def _below_simple_model(comparison: Comparison, simple: SimpleRow) -> list[str]:
    """Warn where TF-IDF, or the dictionary of tags, is better than the recommended layout."""
    if comparison.recommended is None:
        return []
    chosen = comparison.row(comparison.recommended)
    is_reference = chosen.origin == comparison.reference
    gap = simple.difference if is_reference else comparison.against[simple.origin].reversed
    if gap.mean <= 0:
        return []
    name = "TF-IDF" if simple.origin == "tf-idf" else f"the {simple.origin}"
    metric = METRICS[comparison.metric]
    word = "worse" if gap.finding == "better" else "not better"
    seconds = "less than a second" if simple.seconds < 1 else f"{simple.seconds:.0f} s"
    return [
        f"The recommended layout ({chosen.origin}, {metric.format(chosen.test_mean)}) is {word} "
        f"than {name} ({simple.description}), which was trained on the same rows in "
        f"{seconds} and has {metric.format(simple.test_mean)}: "
        f"{metric.format_difference(gap.mean)} {metric.unit}{metric.note} "
        f"({describe_interval(gap)}). Train longer, keep more "
        f"layers, or use {name}."
    ]


def _longer_than_full(comparison: Comparison) -> list[str]:
    """Warn where the others had a teacher and more steps than the full model."""
    distilled = [run.budget for run in comparison.records if run.budget.distillation]
    full = [run.budget for run in comparison.records if run.origin == "full"]
    if not distilled or not full or distilled[0].steps <= full[0].steps:
        return []
    return [
        f"The full model had at most {full[0].steps:,} steps, the others, which are distilled, "
        f"{distilled[0].steps:,}: what they gain on it is in part that of longer training."
    ]


def _nothing_searched(setting: StudyMetadata, trials: Sequence[Record]) -> list[str]:
    """Warn where all trials are fixed strategies."""
    fixed = strategy_layouts(list(STRATEGIES), setting.depth, setting.keep).values()
    if not trials or any(trial.layout not in fixed for trial in trials):
        return []
    return [
        "Nothing was searched: only the fixed strategies, which come first, were tried "
        f"({format_count(len(trials), 'trial')}). Give more --trials."
    ]


def _few_seeds(comparison: Comparison) -> list[str]:
    """Warn where there are too few seeds for the noise of training."""
    seeds = len(comparison.seeds)
    if seeds >= MIN_SEEDS:
        return []
    few = "One seed says" if seeds == 1 else f"{seeds} seeds say"
    return [
        f"{few} too little of the noise of training: the intervals allow for other test rows "
        f"only. Give at least {MIN_SEEDS} --seeds."
    ]
