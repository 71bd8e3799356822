"""Progress of a pre-training: one line kept up to date, or on no terminal a line now and then."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from autoprune.cli.show import minutes
from autoprune.encoders.pretraining.training import Step

_KEPT = 0.98  # of the running mean of the loss, each step
_EVERY = 30.0  # seconds between lines where there is no terminal


class Progress:
    """Shows loss, tokens a second and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._loss: float | None = None
        self._first: Step | None = None
        self._last: Step | None = None
        self._said = time.monotonic()

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._live.stop()
        if kind is None and self._last is not None:
            self._console.print(Text(self._line(self._last)), soft_wrap=True)

    def steps(self, step: Step) -> None:
        """Take in one more step."""
        self._first = self._first or step
        self._last = step
        mean = step.loss if self._loss is None else self._loss
        self._loss = _KEPT * mean + (1 - _KEPT) * step.loss
        if self._console.is_terminal:
            self._live.update(Text(self._line(step)))
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            self._console.print(Text(self._line(step)), soft_wrap=True)

    def _line(self, step: Step) -> str:
        assert self._first is not None
        seconds = step.seconds - self._first.seconds
        speed = (step.tokens - self._first.tokens) / seconds if seconds > 0 else 0.0
        left = step.seconds * (1 - step.done) / step.done if step.done < 1 else 0.0
        return (
            f"{min(step.done, 1):>5.1%}  loss {self._loss:.3f}  {speed:,.0f} tokens a second  "
            f"{step.tokens:,} tokens  {minutes(left)} left"
        )
