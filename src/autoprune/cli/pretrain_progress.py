"""Progress of pre-training on standard error: messages, and loss, speed and time left of steps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from autoprune.cli.shutdown import graceful_shutdown
from autoprune.experiment.progress import format_duration
from autoprune.pretraining.run import PretrainingProgress
from autoprune.pretraining.training import StepResult
from autoprune.terminal import SafeConsole

_DECAY = 0.98  # of the running mean of the loss, per step

_LINE_INTERVAL = 30.0  # seconds between lines where there is no terminal


class PretrainingDisplay(PretrainingProgress):
    """Prints messages; shows the last step live on a terminal, else as a line now and then."""

    def __init__(self) -> None:
        self._console = SafeConsole(stderr=True, highlight=False)
        self._loss: float | None = None
        self._first: StepResult | None = None

    def message(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(text), soft_wrap=not self._console.is_terminal)

    @contextmanager
    def training(self) -> Iterator[Callable[[StepResult], None]]:
        """Show steps until the block ends; Ctrl-C stops after the current step."""
        last: StepResult | None = None
        printed = time.monotonic()
        live = Live(console=self._console, refresh_per_second=4, transient=True)

        def show(step: StepResult) -> None:
            nonlocal last, printed
            last = step
            self._average(step)
            if self._console.is_terminal:
                live.update(Text(self._line(step)))
            elif time.monotonic() - printed >= _LINE_INTERVAL:
                printed = time.monotonic()
                self._console.print(Text(self._line(step)), soft_wrap=True)

        with graceful_shutdown(self.message):
            if self._console.is_terminal:
                live.start()
            try:
                yield show
            finally:
                live.stop()
            if last is not None:
                self._console.print(Text(self._line(last)), soft_wrap=True)

    def _average(self, step: StepResult) -> None:
        self._first = self._first or step
        mean = step.loss if self._loss is None else self._loss
        self._loss = _DECAY * mean + (1 - _DECAY) * step.loss

    def _line(self, step: StepResult) -> str:
        assert self._first is not None
        seconds = step.seconds - self._first.seconds
        speed = (step.tokens - self._first.tokens) / seconds if seconds > 0 else 0.0
        # From this process's steps: earlier ones may be from a busier machine.
        done = step.done - self._first.done
        left = seconds * (1 - step.done) / done if done > 0 and step.done < 1 else 0.0
        return (
            f"{min(step.done, 1):>5.1%}  loss {self._loss:.3f}  {speed:,.0f} tokens a second  "
            f"{step.tokens:,} tokens  {format_duration(left)} left"
        )
