"""A budget: what one candidate may spend, the same for every candidate of a study."""

from dataclasses import dataclass, replace
from typing import Self

from autoprune.choices import METHOD_NAMES
from autoprune.errors import OptionError, UnknownNameError


@dataclass(frozen=True, slots=True)
class Budget:
    """What one fine-tuning run may spend.

    `steps`: optimizer steps; `batch`: rows a step, computed in `parts` equal parts whose gradients
    are added up where memory is short; `tokens`: longest input, the rest is cut off;
    `learning_rate`: peak of the linear warm-up and decay; `checks`: how often, evenly spread and
    at the end, the validation split is scored; `method`: which weights learn; `patience`: stop
    after so many checks without a better validation quality and go back to the best one
    (None: run to the end and take the last weights); `until`: pause after so many of the steps,
    from where a run with a later `until`, or none, goes on. Raises `OptionError`,
    `UnknownNameError`.
    """

    steps: int
    batch: int = 32
    tokens: int = 128
    learning_rate: float = 5e-5
    checks: int = 3
    method: str = "full"
    patience: int | None = None
    parts: int = 1
    until: int | None = None

    @property
    def ends(self) -> int:
        """After how many steps a run ends or pauses."""
        return self.steps if self.until is None else self.until

    def whole(self) -> Self:
        """Return this budget without its pause."""
        return replace(self, until=None)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "tokens", "checks", "parts"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise OptionError(f"learning rate must lie between 0 and 1, got {self.learning_rate}")
        if self.method not in METHOD_NAMES:
            raise UnknownNameError("method", self.method, METHOD_NAMES)
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"patience must be at least 1, got {self.patience}")
        if self.until is not None and not 0 < self.until <= self.steps:
            raise OptionError(f"a pause lies within the {self.steps} steps, got {self.until}")


# Peak rates for encoders of base width and above, and below it. 5e-5 is the upper end of what the
# authors of BERT tried (arXiv 1810.04805, A.3); the narrow stand-ins were tuned at 5e-4. What
# starts from nothing takes more: heads ten times, adapters five times as much (mr-12 on SHC, three
# passes, two seeds: 62 and 60 % at 2.5e-3, 58 % at 1e-3; at 5e-3 they diverge, 12 and 34 %).
WIDE_HIDDEN_SIZE = 512

_RATES = {True: 5e-5, False: 5e-4}

_FACTORS = {"full": 1.0, "lora": 5.0, "lora-upper": 5.0, "head": 10.0, "probe": 10.0}


def default_learning_rate(hidden: int, method: str) -> float:
    """Return the peak learning rate for an encoder `hidden` wide.

    >>> default_rate(768, "full"), default_rate(128, "full")
    (5e-05, 0.0005)
    >>> default_rate(128, "lora")
    0.0025
    """
    return min(_RATES[hidden >= WIDE_HIDDEN_SIZE] * _FACTORS[method], 5e-3)
