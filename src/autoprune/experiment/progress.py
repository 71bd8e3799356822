"""Progress: what was read, how long a study takes, a line for each result, a live view."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoprune.evaluation.statistics import RankCorrelation, layout_rank_correlation
from autoprune.evaluation.verdict import format_percent
from autoprune.experiment.context import Progress
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, count_layouts
from autoprune.search.trial import SEARCH_ORIGIN
from autoprune.tasks.task import CleaningReport
from autoprune.terminal import SafeConsole
from autoprune.training.devices import describe_device


def format_duration(seconds: float) -> str:
    """Write seconds in the unit that a person would use.

    >>> minutes(42.4), minutes(300), minutes(9000)
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


class ProgressDisplay(Progress):
    """Prints to standard error; on a terminal the last lines are kept up to date."""

    def __init__(self) -> None:
        self.console = SafeConsole(stderr=True, highlight=False)
        self._label = ""
        self._done = self._total = self._depth = 0
        self._scores: dict[tuple[str, Layout], list[float]] = {}
        self._current: Layout | None = None
        self._since = time.monotonic()
        self._estimate = TimeEstimate(0, 1)
        self.compare_with_proxy()

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(Text(line), soft_wrap=not self.console.is_terminal)

    @contextmanager
    def phase(self, label: str, done: int, total: int, parallel: int = 1) -> Iterator[None]:
        """Show a phase of `total` measurements, `done` of them there already, `parallel` at a time.

        Ctrl-C goes through, after a line that says what is kept.
        """
        self._label, self._done, self._total = label, done, total
        self._scores, self._current = {}, None
        self.compare_with_proxy()
        self._estimate = TimeEstimate(total - done, parallel)
        try:
            if self.console.is_terminal:
                with self._live():
                    yield
            else:
                yield
        except KeyboardInterrupt:
            self.say(
                f"stopped: {self._done} of {self._total} {label}s are kept; "
                "the same command again goes on"
            )
            raise

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
        self._current, self._since = layout, time.monotonic()

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
        self._done, self._current = self._done + 1, None
        self._depth = max(self._depth, layout.depth)
        score = "–" if quality is None else format_percent(quality)
        if quality is not None and compared:
            self.recall(origin, layout, quality)
        self.say(
            f"{self._label} {self._done:>3}/{self._total}  {layout.picture:{self._depth}}  "
            f"{score:>7}  {origin:10} {layout!s:18} {remark}".rstrip()
        )

    def _live(self) -> Live:
        return Live(
            get_renderable=self._view, console=self.console, refresh_per_second=4, transient=True
        )

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        table.add_row("", f"{self._label} {min(self._done + 1, self._total)} of {self._total}")
        if self._current is not None:
            spent = format_duration(time.monotonic() - self._since)
            table.add_row("now", Text(f"{self._current.picture}  {spent}"))
        means = {key: fmean(values) for key, values in self._scores.items()}
        if means:
            (origin, layout), best = max(means.items(), key=lambda item: item[1])
            table.add_row(
                "best so far", Text(f"{layout.picture}  {format_percent(best)}  {origin}")
            )
        named = [
            f"{origin} {format_percent(mean)}"
            for (origin, _), mean in means.items()
            if origin != SEARCH_ORIGIN
        ]
        if named:
            table.add_row("on validation", Columns(named, padding=(0, 2)))
        if self._agreement is not None:
            table.add_row(self._proxy, f"rank correlation {self._agreement}")
        left = self._estimate.left()
        table.add_row(
            "time left", "known after the first" if left is None else format_duration(left)
        )
        return Group(Text(""), table)


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
    depth, keep, schedule = experiment.depth, experiment.keep, experiment.schedule
    first = next(iter(experiment.strategies.values()))
    step = experiment.evaluator(experiment.timed).seconds_per_step(first)
    rest = format_duration((full.steps - quick.ends) * step)
    promoted = f", those that go on {rest} more each" if experiment.promotes else ""
    searching = format_duration(trials * quick.ends * step / workers)
    search = f"{searching} for {trials} trials of {quick.ends} steps{promoted}, "
    pruned = len(experiment.strategies) + (trials > 0) + 1 + len(experiment.rivals)  # 1: scratch
    budgets, rates = experiment.entrant_budgets(), len(experiment.learning_rates)
    choices = len(budgets) if len(budgets) > 1 else 0  # each is tried on another seed
    run = budgets[0].steps * step / workers  # of the layers to keep
    full_run = full.steps * step / workers * depth / keep
    comparing = format_duration(
        (len(schedule.seeds) + choices) * run * pruned + (len(schedule.seeds) + rates) * full_run
    )
    seeds = f"{schedule.minimum} to {len(schedule.seeds)}" if schedule.is_open else schedule.minimum
    raced = ""
    if schedule.race and schedule.minimum > 1:
        sure = ((trials > 0) + 1) * run + full_run  # found, a strategy, full
        least = (1 + choices) * run * pruned + (1 + rates) * full_run
        least += (schedule.minimum - 1) * sure
        raced = f" ({format_duration(least)} where most are surely behind after one)"
    progress.say(
        f"{step * 1000:.0f} ms a step on {describe_device(experiment.device)}: "
        f"{search if trials else ''}"
        f"at most {comparing} for the comparison on {seeds} seeds{raced}"
        f"{f' and {choices} settings' if choices else ''}, "
        f"up to {budgets[0].steps} steps a run, {workers} at a time "
        f"({count_layouts(depth, keep):,} layouts in all). Shorter: fewer --trials or --seeds, "
        "smaller --epochs, --full-epochs or --tokens, a GPU"
    )
