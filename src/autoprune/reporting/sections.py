"""The report's part on its terms: cleaning, budgets, cost, how to repeat it, limits."""

from collections.abc import Sequence
from dataclasses import fields

from autoprune.encoders.profiling import Median
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import CostOf, Costs
from autoprune.evaluation.records import Record
from autoprune.evaluation.study_files import Setting
from autoprune.reporting.tables import Cell, Table, fenced, plain, written
from autoprune.tasks.task import Cleaned
from autoprune.training.budget import Budget

UNMEASURED = (
    "Memory, latency and throughput are not measured yet: the command autoprune cost, with this "
    "study's name, measures them on the machine at hand, and the next autoprune report shows them."
)

HEADER = (
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
        return "\n\n".join(["## Measured cost", UNMEASURED])
    said = [*costs.alarms, f"{how_measured(costs)} {' '.join(costs.notes)}"]
    return "\n\n".join(["## Measured cost", written(costs_table(costs)), *map(plain, said)])


def costs_table(costs: Costs) -> Table:
    """Return a row under `HEADER` for each model; medians with their 95 % intervals."""
    return Table("Measured cost", HEADER, tuple(_cells(one) for one in costs.models))


def how_measured(costs: Costs) -> str:
    """Say on what, when and how the figures were measured, and how they are read."""
    versions = ", ".join(f"{name} {text}" for name, text in costs.versions.items())
    return (
        f"Measured on {costs.measured[:10]} on {costs.device} ({versions}): {costs.rounds} rounds "
        f"in turn, medians with 95 % intervals; texts of at most {costs.tokens} tokens, one by "
        f"one for the latency, in batches of {costs.batch} for the throughput. Memory is the most "
        "it takes to load the model and run a batch. Other machines have other figures."
    )


def _cells(one: CostOf) -> tuple[Cell, ...]:
    return (
        one.name,
        one.layout,
        with_interval(one.latency, 1000, 2),
        with_interval(one.throughput, 1, 0),
        with_interval(one.gain, 1, 2),
        "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}",
        f"{one.bytes / 1e6:.1f}",
        f"{one.parameters:,}",
        f"{one.embeddings:,}",
        f"{one.flops / 1e9:.3g}",
    )


def with_interval(value: Median, unit: float, digits: int) -> str:
    """Write a median in `unit`s with its interval.

    >>> with_interval(Median(0.0125, 0.012, 0.014), 1000, 1)
    '12.5 (12.0 to 14.0)'
    """
    median, low, high = (
        f"{one * unit:,.{digits}f}" for one in (value.median, value.low, value.high)
    )
    return f"{median} ({low} to {high})"


def cleaning_section(setting: Setting) -> str:
    """Return how many rows each cleaning step took from each split."""
    return "\n\n".join(["## Data", plain(labels(setting)), written(cleaning_table(setting))])


def labels(setting: Setting) -> str:
    """Name the labels in one sentence."""
    return f"{len(setting.labels)} labels: {', '.join(setting.labels)}."


def cleaning_table(setting: Setting) -> Table:
    """Return how many rows each cleaning step took from each split, one row a split."""
    names = [field.name for field in fields(Cleaned)]
    said = {
        "headers": "stray headers",
        "empty": "empty texts",
        "leaked": "in an earlier split",
    }
    rows = [tuple(str(getattr(split, name)) for name in names) for split in setting.cleaned]
    return Table("Cleaning", tuple(said.get(name, name) for name in names), tuple(rows))


def terms_section(setting: Setting, comparison: Comparison, trials: Sequence[Record]) -> str:
    """Return both budgets and what the study cost in seconds of training."""
    said = [tuning(setting, comparison), cost(comparison, trials)]
    budgets = written(budgets_table(setting))
    return "\n\n".join(["## Budgets and cost", budgets, *(plain(one) for one in said if one)])


def budgets_table(setting: Setting) -> Table:
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


def _entry(budget: Budget, name: str, setting: Setting) -> str:
    if name == "learning_rate" and budget is setting.full and setting.rates:
        return "chosen, see below"
    return str(getattr(budget, name)).replace("None", "none")


def tuning(setting: Setting, comparison: Comparison) -> str:
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


def cost(comparison: Comparison, trials: Sequence[Record]) -> str:
    """Say what the study cost in seconds of training."""
    searched = sum(trial.scores[-1].seconds for trial in trials if trial.scores)
    compared = sum(run.score("validation").seconds for run in comparison.records if run.scores)
    runs = len(comparison.records)
    spent = [f"{compared:.0f} s for {runs} runs of the comparison"]
    if trials:
        spent.insert(0, f"{searched:.0f} s for {len(trials)} trials")
    return f"Training took {', '.join(spent)}."


def repeat_section(setting: Setting, comparison: Comparison) -> str:
    """Return what is needed to run the study again."""
    needed = written(repeat_table(setting, comparison))
    return "\n\n".join(["## To repeat it", fenced(setting.command), needed])


def repeat_table(setting: Setting, comparison: Comparison) -> Table:
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
    return "\n\n".join(["## Limits", plain(limits(comparison))])


def limits(comparison: Comparison) -> str:
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
