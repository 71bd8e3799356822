"""The report's part on its terms: cleaning, budgets, cost, how to repeat it, limits."""

from collections.abc import Sequence
from dataclasses import fields

from autoprune.encoders.profiling import MedianInterval
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs, MeasuredCost
from autoprune.evaluation.records import Record
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.reporting.tables import Table, TableCell, code_block, escape_markdown, plain_cell
from autoprune.tasks.task import CleaningReport
from autoprune.training.budget import Budget

NO_COST_TEXT = (
    "Memory, latency and throughput are not measured yet: the command autoprune cost, with this "
    "study's name, measures them on the machine at hand, and the next autoprune report shows them."
)

COST_HEADER = (
    "model",
    "layers",
    "ms for one text",
    "texts a second",
    "times the full model's",
    "MB of memory",
    "MB on disk",
    "parameters",
    "of them embeddings",
    "GFLOP a text",
)


def costs_section(costs: Costs | None) -> str:
    """Return what each model costs on the machine that measured it, or how to have it measured."""
    if costs is None:
        return "\n\n".join(["## Measured cost", NO_COST_TEXT])
    said = [*costs.alarms, f"{cost_conditions(costs)} {' '.join(costs.notes)}"]
    return "\n\n".join(
        ["## Measured cost", plain_cell(costs_table(costs)), *map(escape_markdown, said)]
    )


def costs_table(costs: Costs) -> Table:
    """Return a row under `COST_HEADER` for each model; medians with their 95 % intervals."""
    return Table("Measured cost", COST_HEADER, tuple(_cells(one) for one in costs.models))


def cost_conditions(costs: Costs) -> str:
    """Say on what, when and how the figures were measured, and how they are read."""
    versions = ", ".join(f"{name} {text}" for name, text in costs.versions.items())
    return (
        f"Measured on {costs.measured[:10]} on {costs.device} ({versions}): {costs.rounds} rounds "
        f"in turn, medians with 95 % intervals; texts of at most {costs.tokens} tokens, one by "
        f"one for the latency, in batches of {costs.batch} for the throughput. Memory is the most "
        "it takes to load the model and run a batch. Other machines have other figures."
    )


def _cells(one: MeasuredCost) -> tuple[TableCell, ...]:
    return (
        one.name,
        one.layout,
        format_interval(one.latency, 1000, 2),
        format_interval(one.throughput, 1, 0),
        format_interval(one.gain, 1, 2),
        "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}",
        f"{one.bytes / 1e6:.1f}",
        f"{one.parameters:,}",
        f"{one.embeddings:,}",
        f"{one.flops / 1e9:.3g}",
    )


def format_interval(value: MedianInterval, unit: float, digits: int) -> str:
    """Write a median in `unit`s with its interval.

    >>> with_interval(Median(0.0125, 0.012, 0.014), 1000, 1)
    '12.5 (12.0 to 14.0)'
    """
    median, low, high = (
        f"{one * unit:,.{digits}f}" for one in (value.median, value.low, value.high)
    )
    return f"{median} ({low} to {high})"


def cleaning_section(setting: StudyMetadata) -> str:
    """Return how many rows each cleaning step took from each split."""
    return "\n\n".join(
        ["## Data", escape_markdown(labels_text(setting)), plain_cell(cleaning_table(setting))]
    )


def labels_text(setting: StudyMetadata) -> str:
    """Name the labels in one sentence."""
    return f"{len(setting.labels)} labels: {', '.join(setting.labels)}."


def cleaning_table(setting: StudyMetadata) -> Table:
    """Return how many rows each cleaning step took from each split, one row a split."""
    names = [field.name for field in fields(CleaningReport)]
    said = {
        "headers": "stray headers",
        "empty": "empty texts",
        "leaked": "in an earlier split",
    }
    rows = [tuple(str(getattr(split, name)) for name in names) for split in setting.cleaned]
    return Table("Cleaning", tuple(said.get(name, name) for name in names), tuple(rows))


def terms_section(setting: StudyMetadata, comparison: Comparison, trials: Sequence[Record]) -> str:
    """Return both budgets and what the study cost in seconds of training."""
    said = [tuning_text(setting, comparison), training_cost_text(comparison, trials)]
    budgets = plain_cell(budgets_table(setting))
    return "\n\n".join(
        ["## Budgets and cost", budgets, *(escape_markdown(one) for one in said if one)]
    )


def budgets_table(setting: StudyMetadata) -> Table:
    """Return what one candidate could spend, in the search and in the comparison."""
    both = {"quick (search)": setting.quick, "full (comparison)": setting.full}
    budgets = {label: budget for label, budget in both.items() if budget is not None}
    names = [
        field.name
        for field in fields(Budget)
        if any(getattr(budget, field.name) is not None for budget in budgets.values())
    ]
    rows = [
        (label, *(_entry(budget, name, setting) for name in names))
        for label, budget in budgets.items()
    ]
    header = ("budget", *(name.replace("_", " ") for name in names))
    return Table("Budgets", header, tuple(rows))


def _entry(budget: Budget, name: str, setting: StudyMetadata) -> str:
    if name == "learning_rate" and budget is setting.full and setting.rates:
        return "chosen, see below"
    return str(getattr(budget, name)).replace("None", "none")


def tuning_text(setting: StudyMetadata, comparison: Comparison) -> str:
    """Say how each entrant's learning rate was chosen; nothing where none was."""
    if not setting.rates:
        return ""
    tried = ", ".join(f"{rate:g}" for rate in setting.rates)
    chosen = ", ".join(f"{row.origin} {row.learning_rate:g}" for row in comparison.rows)
    return (
        "Peak learning rates of the comparison: each entrant was trained once with each of "
        f"{tried} within the full budget, on a seed that the comparison does not use; the best on "
        f"validation was taken: {chosen}. These runs are not in the cost told here."
    )


def training_cost_text(comparison: Comparison, trials: Sequence[Record]) -> str:
    """Say what the study cost in seconds of training."""
    searched = sum(trial.scores[-1].seconds for trial in trials if trial.scores)
    compared = sum(run.score("validation").seconds for run in comparison.records if run.scores)
    runs = len(comparison.records)
    spent = [f"{compared:.0f} s for {runs} runs of the comparison"]
    if trials:
        spent.insert(0, f"{searched:.0f} s for {len(trials)} trials")
    return f"Training took {', '.join(spent)}."


def repeat_section(setting: StudyMetadata, comparison: Comparison) -> str:
    """Return what is needed to run the study again."""
    needed = plain_cell(repeat_table(setting, comparison))
    return "\n\n".join(["## To repeat it", code_block(setting.command), needed])


def repeat_table(setting: StudyMetadata, comparison: Comparison) -> Table:
    """Return what the command alone does not say: versions, data, device."""
    seeds = ", ".join(map(str, comparison.seeds))
    entries = {
        "model": setting.model,
        "commit": setting.commit,
        "task": setting.task,
        "fresh seeds": seeds,
        "device": setting.device,
        "finished": setting.finished,
        **{f"version of {name}": text for name, text in setting.versions.items()},
        **{f"fingerprint of {name}": text for name, text in setting.fingerprints.items()},
    }
    return Table("Needed to repeat it", ("what", "value"), tuple(entries.items()))


def limits_section(comparison: Comparison) -> str:
    """Say what the figures cannot show."""
    return "\n\n".join(["## Limits", escape_markdown(limits_text(comparison))])


def limits_text(comparison: Comparison) -> str:
    """Say what the figures cannot show, in one paragraph."""
    return (
        f"One model, one task, one budget, {len(comparison.seeds)} seed(s), "
        f"{comparison.test_rows} test rows: differences smaller than the intervals cannot be "
        "seen, and another model, task or longer training may turn the order. One training run "
        "is noisy by more than a point on tasks of this size. A scratch-trained model of equal "
        "depth had only this task's training rows and this budget, no pre-training. The "
        "validation rows served the search and the choice of the best strategy, so figures on "
        "validation flatter; the test rows served neither. "
        "Seconds are of this machine."
    )
