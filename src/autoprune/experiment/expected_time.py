"""Expected time: what was read, and how long a study takes at most on this device."""

from autoprune.experiment.context import Progress
from autoprune.experiment.progress import format_duration
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import count_layouts
from autoprune.tasks.task import CleaningReport
from autoprune.training.devices import describe_device


def report_data(experiment: Experiment, progress: Progress) -> None:
    """Say what was read, what cleaning removed, and what is doubtful in the data."""
    splits = experiment.splits
    for report in (*splits.cleaned, experiment.test.cleaned):
        progress.say(_describe_cleaning(report))
    if experiment.left_out:
        progress.say(
            f"this family of models cannot have {', '.join(experiment.left_out)}: not compared"
        )
    if splits.held_out:
        progress.say(
            f"the data have no {' and no '.join(splits.held_out)} split: "
            "a fifth of the train rows was cut off for each, by label and seed"
        )
    for note in experiment.notes:
        progress.say(note)
    for warning in experiment.warnings:
        progress.say(f"warning: {warning}")


def _describe_cleaning(report: CleaningReport) -> str:
    return (
        f"{report.split}: {report.read} rows read, {report.left} left (removed: "
        f"{report.headers} stray headers, {report.empty} empty, {report.duplicates} "
        f"duplicates, {report.leaked} that are also in an earlier split)"
    )


def report_expected_time(experiment: Experiment, progress: Progress, trials: int) -> None:
    """Measure a training step on this device and say how long the study takes at most."""
    quick, full, workers = experiment.quick, experiment.full, experiment.workers
    depth, keep, seeds = experiment.depth, experiment.keep, len(experiment.comparison_seeds)
    first = next(iter(experiment.strategies.values()))
    step = experiment.evaluator(quick).seconds_per_step(first)
    rest = format_duration((full.steps - quick.ends) * step)
    promoted = f", those that go on {rest} more each" if experiment.promotes else ""
    searching = format_duration(trials * quick.ends * step / workers)
    search = f"{searching} for {trials} trials of {quick.ends} steps{promoted}, "
    pruned = len(experiment.strategies) + (trials > 0) + 1 + len(experiment.rivals)  # 1: scratch
    rates = len(experiment.learning_rates)
    comparing = (seeds + rates) * full.steps * step * (pruned + depth / keep) / workers
    progress.say(
        f"{step * 1000:.0f} ms a step on {describe_device(experiment.device)}: "
        f"{search if trials else ''}"
        f"at most {format_duration(comparing)} for the comparison on {seeds} seeds"
        f"{f' and {rates} learning rates' if rates else ''}, "
        f"up to {full.steps} steps a run, {workers} at a time "
        f"({count_layouts(depth, keep):,} layouts in all). Shorter: fewer --trials or --seeds, "
        "smaller --epochs, --full-epochs or --tokens, a GPU"
    )
