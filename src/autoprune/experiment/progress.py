"""Progress: what was read, how long a study takes, a line for each result, a live view."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoprune.errors import format_count
from autoprune.evaluation.statistics import RankCorrelation, layout_rank_correlation
from autoprune.experiment.context import Progress
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, count_layouts
from autoprune.search.trial import SEARCH_ORIGIN
from autoprune.tasks.task import CleaningReport
from autoprune.terminal import SafeConsole
from autoprune.training.devices import describe_device
from autoprune.training.metrics import METRICS


def format_duration(seconds: float) -> str:
    """Write seconds in the unit that a person would use.

    >>> format_duration(42.4), format_duration(300), format_duration(9000)
    ('42 s', '5.0 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


class TimeEstimate:
    """How long a phase still takes, from the results that had to be waited for.

    `parallel` measurements run at a time: they end together, roughly, so time is counted in rounds
    of them. What was on file already took no time and tells nothing of the rest.
    """

    def __init__(self, remaining: int, parallel: int) -> None:
        self.remaining, self.parallel = remaining, parallel
        self._measured = 0
        self._began = self._last = time.monotonic()

    def ends(self, measured: bool) -> None:
        """Count one result; `measured` is False where it was on file."""
        self.remaining -= 1
        self._measured += measured
        if measured:
            self._last = time.monotonic()

    def left(self) -> float | None:
        """Return the seconds left, None before the first measured result."""
        if not self._measured:
            return None
        one_round = (self._last - self._began) / math.ceil(self._measured / self.parallel)
        whole = one_round * math.ceil(self.remaining / self.parallel)
        return max(0.0, whole - (time.monotonic() - self._last))


_MAX_RUNNING = 8  # layouts in training that the live view shows

_PHASE_NAMES = {"trial": "search", "run": "comparison", "rate": "settings"}

_SCORE_STYLES = ("red", "yellow", "green")  # the worst third of what was seen, ..., the best


class ProgressDisplay(Progress):
    """Prints to standard error; on a terminal the last lines are kept up to date."""

    def __init__(self) -> None:
        self.console = SafeConsole(stderr=True, highlight=False)
        self._label, self._metric = "", METRICS["accuracy"]
        self._done = self._total = self._depth = 0
        self._scores: dict[tuple[str, Layout], list[float]] = {}
        self._running: list[tuple[Layout, float]] = []
        self._phases: dict[str, tuple[int, float]] = {}
        self._began = time.monotonic()
        self._estimate = TimeEstimate(0, 1)
        self.compare_with_proxy()

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(Text(line), soft_wrap=not self.console.is_terminal)

    @contextmanager
    def phase(
        self, label: str, done: int, total: int, parallel: int = 1, metric: str = "accuracy"
    ) -> Iterator[None]:
        """Show a phase of `total` measurements, `done` of them there already, `parallel` at a time.

        Ctrl-C goes through, after a line that says what is kept.
        """
        self._label, self._done, self._total = label, done, total
        self._metric = METRICS[metric]
        self._scores, self._running, self._began = {}, [], time.monotonic()
        if label in self._phases:
            self._phases[label] = (total, self._phases[label][1])
        self.compare_with_proxy()
        self._estimate = TimeEstimate(total - done, parallel)
        try:
            if self.console.is_terminal:
                with self._live():
                    yield
            else:
                yield
            self._end_phase()
        except KeyboardInterrupt:
            self.say(
                f"stopped: {self._done} of {self._total} {label}s are kept; "
                "the same command again goes on"
            )
            raise

    def _end_phase(self) -> None:
        """Take the phase out of the plan; those that follow take as much longer as it did."""
        _, planned = self._phases.pop(self._label, (0, 0.0))
        if planned and self._estimate.left() is not None:
            pace = (time.monotonic() - self._began) / planned
            self._phases = {
                label: (total, pace * seconds) for label, (total, seconds) in self._phases.items()
            }

    def expect_time(self, phases: Mapping[str, tuple[int, float]]) -> None:
        """Take the phases of a study to come: runs of each, and how many seconds they may take."""
        self._phases = dict(phases)

    def expect(self, total: int) -> None:
        """Show that the phase has so many runs, not as many as was said before."""
        self._estimate.remaining += total - self._total
        self._total = total

    def compare_with_proxy(
        self, proxy: str = "", scores: Mapping[Layout, float] | None = None
    ) -> None:
        """Show how far the results of this phase rank layouts as a cheap score does, if any."""
        self._proxy, self._proxy_scores = proxy, scores or {}
        self._results: list[tuple[Layout, float]] = []
        self._agreement: RankCorrelation | None = None

    def recall(self, origin: str, layout: Layout, quality: float) -> None:
        """Take a result of an earlier command into the view."""
        self._scores.setdefault((origin, layout), []).append(quality)
        if layout in self._proxy_scores:
            self._results.append((layout, quality))
            self._agreement = layout_rank_correlation(self._proxy_scores, self._results)

    def started(self, layout: Layout) -> None:
        """Show which layout is being trained now."""
        self._running.append((layout, time.monotonic()))

    def finished(
        self,
        origin: str,
        layout: Layout,
        quality: float | None,
        remark: str,
        measured: bool = True,
        compared: bool = True,
    ) -> None:
        """Print one result; what had another budget stays out of the view's figures."""
        self._estimate.ends(measured)
        self._done += 1
        ended = next((run for run in self._running if run[0] == layout), None)
        if ended is not None:
            self._running.remove(ended)
        self._depth = max(self._depth, layout.depth)
        score = "–" if quality is None else self._metric.format(quality)
        if quality is not None and compared:
            self.recall(origin, layout, quality)
        line = Text(
            f"{self._label} {self._done:>3}/{self._total}  {layout.picture:{self._depth}}  "
        )
        line.append(f"{score:>7}", self._score_style(quality))
        line.append(f"  {origin:10} {layout!s:18} {remark}".rstrip())
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def _score_style(self, quality: float | None) -> str:
        """Return a colour by where a score lies between the least and the greatest seen."""
        seen = [score for scores in self._scores.values() for score in scores]
        if quality is None or len(seen) < 3 or max(seen) == min(seen):
            return ""
        share = (quality - min(seen)) / (max(seen) - min(seen))
        return _SCORE_STYLES[min(max(int(3 * share), 0), 2)]

    def _live(self) -> Live:
        return Live(
            get_renderable=self._view, console=self.console, refresh_per_second=4, transient=True
        )

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        table.add_row(*self._bar(self._label, self._done, self._total))
        for label, (total, _) in self._phases.items():
            if label != self._label:
                table.add_row(*self._bar(label, 0, total))
        for layout, since in self._running[:_MAX_RUNNING]:
            spent = format_duration(time.monotonic() - since)
            table.add_row("now", Text(f"{layout.picture}  {spent}"))
        means = {key: fmean(values) for key, values in self._scores.items()}
        if means:
            (origin, layout), best = max(means.items(), key=lambda item: item[1])
            table.add_row(
                "best so far", Text(f"{layout.picture}  {self._metric.format(best)}  {origin}")
            )
        named = [
            f"{origin} {self._metric.format(mean)}"
            for (origin, _), mean in means.items()
            if origin != SEARCH_ORIGIN
        ]
        if named:
            table.add_row("on validation", Columns(named, padding=(0, 2)))
        if self._agreement is not None:
            table.add_row(self._proxy, f"rank correlation {self._agreement}")
        table.add_row("time left", self._time_left())
        return Group(Text(""), table)

    @staticmethod
    def _bar(label: str, done: int, total: int) -> tuple[str, Columns]:
        bar = ProgressBar(total=max(total, 1), completed=done, width=24)
        return _PHASE_NAMES.get(label, label), Columns([bar, f"{done} of {total}"], padding=(0, 2))

    def _time_left(self) -> str:
        """Return the time left for this phase and all that follow it."""
        spent = time.monotonic() - self._began
        _, planned = self._phases.get(self._label, (0, 0.0))
        here = self._estimate.left()
        pace = 1.0  # seconds for each that were expected
        if here is not None and planned:
            pace = (here + spent) / planned
        if here is None and planned:
            here = max(0.0, planned - spent)
        later = sum(seconds for label, (_, seconds) in self._phases.items() if label != self._label)
        if here is None:
            return "known after the first"
        if not later:
            return format_duration(here)
        name = _PHASE_NAMES.get(self._label, self._label)
        return (
            f"at most {format_duration(here + pace * later)} in all, {format_duration(here)} of "
            f"them for the {name}"
        )


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
    removed = {
        format_count(report.headers, "repeated header"): report.headers,
        f"{report.empty:,} without text or label": report.empty,
        format_count(report.duplicates, "duplicate"): report.duplicates,
        f"{report.leaked:,} also in an earlier split": report.leaked,
    }
    listed = ", ".join(words for words, count in removed.items() if count)
    start = f"{report.split}: {format_count(report.read, 'row')} read, {report.left:,} left"
    return f"{start} (removed: {listed})" if listed else start


def report_expected_time(
    experiment: Experiment, progress: Progress, trials: int | None, runs_on_file: int = 0
) -> None:
    """Measure a training step on this device and say how long the study takes at most.

    `trials` are those still to be made, None where there is no search; so many runs of the
    comparison are on file.
    """
    quick, full, workers = experiment.quick, experiment.full, experiment.workers
    depth, keep, schedule = experiment.depth, experiment.keep, experiment.schedule
    first = next(iter(experiment.strategies.values()))
    step = experiment.evaluator(experiment.timed).seconds_per_step(first)
    budgets, rates = experiment.entrant_budgets(), len(experiment.learning_rates)
    trial, run, full_run = (
        experiment.inputs.steps_of_run(budget, tested) * step
        for budget, tested in ((quick, False), (budgets[0], True), (full, True))
    )
    rest = format_duration(full_run - trial)
    promoted = f", those that go on {rest} more each" if experiment.promotes else ""
    searching = (trials or 0) * trial / workers
    search = f"{format_duration(searching)} for {format_count(trials or 0, 'trial')} of "
    search += f"{format_count(quick.ends, 'step')}{promoted}, "
    searched = trials is not None
    pruned = len(experiment.strategies) + searched + 1 + len(experiment.rivals)  # 1: scratch
    choices = len(budgets) if len(budgets) > 1 else 0  # each is tried on another seed
    run /= workers
    full_run *= depth / keep / workers
    comparing = (len(schedule.seeds) + choices) * run * pruned
    comparing += (len(schedule.seeds) + rates) * full_run
    entrants = pruned + 1  # with the full model
    new = max(0.0, 1 - runs_on_file / (entrants * len(schedule.seeds)))  # share still to be trained
    seeds = format_count(len(schedule.seeds), "seed")
    if schedule.is_open:
        seeds = f"{schedule.minimum} to {seeds}"
    known = f" (on file: {format_count(runs_on_file, 'run')})" if runs_on_file else ""
    phases = {"trial": (trials, searching)} if trials else {}
    phases["run"] = (entrants * schedule.minimum, new * comparing)
    progress.expect_time(phases)
    layouts = count_layouts(depth, keep, len(experiment.required_layers))
    machine = describe_device(experiment.device, experiment.problem_type.name)
    progress.say(
        f"{step * 1000:.0f} ms a step on {machine}: "
        f"{search if trials else ''}"
        f"at most {format_duration(new * comparing)} for the comparison on {seeds}{known}"
        f"{f' and {choices} settings' if choices else ''}, "
        f"up to {format_count(budgets[0].steps, 'step')} a run, {workers} at a time "
        f"({layouts:,} layouts in all). Shorter: fewer --trials or --seeds, "
        "smaller --epochs, --full-epochs or --tokens, a GPU"
    )
