"""A score: one measurement of one trained candidate."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """How good one trained candidate is on one split.

    `quality` is the task's metric (accuracy or macro-F1), in [0, 1], higher is better; `loss` is
    the mean cross-entropy in nats, finite and not negative; `seconds` is the training's wall time;
    `note` tells what happened on the way (a batch halved for memory, say), mostly empty.
    """

    quality: float
    accuracy: float
    macro_f1: float
    loss: float
    split: str
    seed: int
    seconds: float
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("quality", "accuracy", "macro_f1"):
            value = getattr(self, name)
            assert 0.0 <= value <= 1.0, f"{name} lies in [0, 1], got {value}"
        assert math.isfinite(self.loss), f"loss is finite, got {self.loss}"
