"""What is seen while a study runs: a line for each result, and below them a live view."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoprune.layouts.layout import Layout
from autoprune.tasks.task import Cleaned


def percent(share: float) -> str:
    """Write a share of 1 as per cent with one decimal."""
    return f"{100 * share:.1f} %"


def minutes(seconds: float) -> str:
    """Write seconds in the unit that a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


class Show:
    """Prints to standard error; on a terminal the last lines are kept up to date."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._now: Layout | None = None
        self._label = ""
        self._best: tuple[float, Layout] | None = None
        self._fixed: dict[str, float] = {}
        self._done = self._total = 0
        self._busy = 0.0
        self._since = time.monotonic()

    def say(self, line: str) -> None:
        """Print one plain line."""
        self.console.print(Text(line))

    def cleaning(self, splits: Sequence[Cleaned]) -> None:
        """Print what each cleaning step removed."""
        for split in splits:
            self.say(
                f"{split.split}: {split.read} rows read, {split.left} left (removed: "
                f"{split.headers} stray headers, {split.empty} empty, {split.duplicates} "
                f"duplicates, {split.leaked} that stand in an earlier split)"
            )

    @contextmanager
    def phase(self, label: str, done: int, total: int) -> Iterator[None]:
        """Show a phase of `total` measurements of which `done` are there already."""
        self._label, self._done, self._total, self._busy = label, done, total, 0.0
        if not self.console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._view, console=self.console, refresh_per_second=4, transient=True
        ):
            yield

    def begins(self, layout: Layout) -> None:
        """Show which layout is being measured now."""
        self._now, self._since = layout, time.monotonic()

    def ends(self, origin: str, layout: Layout, quality: float | None, remark: str) -> None:
        """Print one result; `quality` is on validation, None where there is none."""
        self._busy += time.monotonic() - self._since
        self._done, self._now = self._done + 1, None
        score = "   –   " if quality is None else f"{percent(quality):>7}"
        if quality is not None and (self._best is None or quality > self._best[0]):
            self._best = (quality, layout)
        if quality is not None and origin not in ("gp", "random", "tpe", "brute-force"):
            self._fixed[origin] = quality
        self.say(
            f"{self._label} {self._done:>3}/{self._total}  {layout.picture}  {score}  "
            f"{origin:10} {layout!s:18} {remark}".rstrip()
        )

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        if self._now is not None:
            spent = minutes(time.monotonic() - self._since)
            table.add_row("now", Text(f"{self._now.picture}  {spent}"))
        if self._best is not None:
            table.add_row("best so far", Text(f"{self._best[1].picture}  {percent(self._best[0])}"))
        if self._fixed:
            scores = "  ".join(f"{name} {percent(value)}" for name, value in self._fixed.items())
            table.add_row("fixed", Text(scores))
        if self._busy:
            left = self._busy / max(1, self._done) * (self._total - self._done)
            table.add_row("time left", Text(f"{minutes(left)} ({self._done} of {self._total})"))
        return Group(Text(""), table)
