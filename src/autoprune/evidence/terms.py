"""The report's part on its terms: cleaning, budgets, cost, how to repeat it, limits."""

from collections.abc import Sequence
from dataclasses import fields

from autoprune.evidence.comparison import Comparison
from autoprune.evidence.markdown import fenced, plain, table
from autoprune.evidence.record import Record
from autoprune.evidence.setting import Setting
from autoprune.scoring.budget import Budget
from autoprune.tasks.task import Cleaned


def cleaning_section(setting: Setting) -> str:
    """Return how many rows each cleaning step took from each split."""
    names = [field.name for field in fields(Cleaned)]
    header = {
        "headers": "stray headers",
        "empty": "empty texts",
        "leaked": "in an earlier split",
    }
    rows = [[plain(str(getattr(split, name))) for name in names] for split in setting.cleaned]
    labels = f"{len(setting.labels)} labels: {', '.join(map(plain, setting.labels))}."
    return "\n\n".join(["## Data", labels, table([header.get(name, name) for name in names], rows)])


def terms_section(setting: Setting, comparison: Comparison, trials: Sequence[Record]) -> str:
    """Return both budgets and what the study cost in seconds of training."""
    budgets = {"quick (search)": setting.quick, "full (comparison)": setting.full}
    names = [field.name for field in fields(Budget)]
    rows = [
        [label, *(str(getattr(budget, name)).replace("None", "none") for name in names)]
        for label, budget in budgets.items()
        if budget is not None
    ]
    searched = sum(trial.scores[-1].seconds for trial in trials if trial.scores)
    compared = sum(run.score("validation").seconds for run in comparison.records if run.scores)
    runs = len(comparison.records)
    cost = [f"{compared:.0f} s for {runs} runs of the comparison"]
    if trials:
        cost.insert(0, f"{searched:.0f} s for {len(trials)} trials")
    return "\n\n".join(
        [
            "## Budgets and cost",
            table(["budget", *(name.replace("_", " ") for name in names)], rows),
            f"Training took {', '.join(cost)}.",
        ]
    )


def repeat_section(setting: Setting, comparison: Comparison) -> str:
    """Return what is needed to run the study again."""
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
    return "\n\n".join(
        [
            "## To repeat it",
            fenced(setting.command),
            table(
                ["what", "value"], [[plain(name), plain(text)] for name, text in entries.items()]
            ),
        ]
    )


def limits_section(comparison: Comparison) -> str:
    """Say what the figures cannot show."""
    return "\n\n".join(
        [
            "## Limits",
            f"One model, one task, one budget, {len(comparison.seeds)} seed(s), "
            f"{comparison.test_rows} test rows: differences smaller than the intervals cannot be "
            "seen, and another model, task or longer training may turn the order. One training run "
            "is noisy by more than a point on tasks of this size. A scratch-trained model of equal "
            "depth had only this task's training rows and this budget, no pre-training. The "
            "validation rows served the search and the choice of the best strategy, so figures on "
            "validation flatter; the test rows served neither. "
            "Seconds are of this machine.",
        ]
    )
