"""Run context: what a study is handed from outside: progress, events, the way it is stopped."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from autoprune.experiment.events import Emit, emit_to
from autoprune.layouts.layout import Layout


class Progress:
    """Takes what a study does, and shows nothing; `ProgressDisplay` shows it."""

    def say(self, line: str) -> None:
        """Show one line."""

    @contextmanager
    def phase(
        self,
        label: str,  # noqa: ARG002
        done: int,  # noqa: ARG002
        total: int,  # noqa: ARG002
        parallel: int = 1,  # noqa: ARG002
        metric: str = "accuracy",  # noqa: ARG002
    ) -> Iterator[None]:
        """Show a phase of `total` runs, `done` of them there already, `parallel` at a time.

        Their quality is shown as one of `metric`.
        """
        yield

    def expect_time(self, phases: Mapping[str, tuple[int, float]]) -> None:
        """Take the phases of a study to come: runs of each, and how many seconds they may take."""

    def expect(self, total: int) -> None:
        """Show that the phase has so many runs, not as many as was said before."""

    def compare_with_proxy(self, proxy: str, scores: Mapping[Layout, float] | None) -> None:
        """Show how far the results of this phase rank layouts as a cheap score does, if any."""

    def recall(self, origin: str, layout: Layout, quality: float) -> None:
        """Take a result of an earlier command into the view."""

    def started(self, layout: Layout) -> None:
        """Show which layout is being trained now."""

    def finished(
        self,
        origin: str,
        layout: Layout,
        quality: float | None,
        remark: str,
        measured: bool = True,
        compared: bool = True,
    ) -> None:
        """Show one result; `quality` is on validation, None where there is none.

        `measured` is False for a result that was on file, `compared` for one that had another
        budget than the rest.
        """


def _ignore(result: Any, seconds: float) -> None:
    """Take a result and do nothing with it."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a study is handed by its caller.

    `command` is stored in the study as the way to repeat it. `shutdown` is entered once the study
    began: inside it, the command line lets Ctrl-C wait for the end of a training step. `on_result`
    is called after each study with its `StudyResult` and how many seconds it took.
    """

    command: str
    progress: Progress = field(default_factory=Progress)
    emit: Emit = field(default_factory=lambda: emit_to(()))
    shutdown: Callable[[], AbstractContextManager[None]] = nullcontext
    on_result: Callable[[Any, float], None] = _ignore
