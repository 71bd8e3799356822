"""The course of a run: everything that changes from step to step."""

import time
from dataclasses import dataclass, field

import torch
from torch import nn

from autoprune.scoring.memory import Parts
from autoprune.scoring.score import Score


@dataclass(slots=True)
class Clock:
    """Seconds spent in forward, backward and optimizer steps; the rest of a trial is overhead."""

    seconds: float = 0.0
    _since: float = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since


@dataclass(frozen=True, slots=True)
class Best:
    """The check to go back to, and the weights that learn as they were there."""

    score: Score
    steps: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True, eq=False)
class Course:
    """A run of `model`, `steps` of it done, `before` seconds of it in earlier processes.

    `heard` is validation quality and steps of the checks so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    parts: Parts
    clock: Clock
    started: float = field(default_factory=time.perf_counter)
    before: float = 0.0
    steps: int = 0
    best: Best | None = None
    heard: list[tuple[float, int]] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the run's wall time so far."""
        return self.before + time.perf_counter() - self.started

    def learning(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn; the others are as they were."""
        return {name: w for name, w in self.model.named_parameters() if w.requires_grad}

    def remember(self, score: Score) -> None:
        """Make this check the one to go back to."""
        weights = {name: weight.detach().clone() for name, weight in self.learning().items()}
        self.best = Best(score, self.steps, weights)
