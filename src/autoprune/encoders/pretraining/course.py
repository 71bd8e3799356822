"""The course of a training: how long it is, and the learning rate along it."""

from dataclasses import dataclass

WARM_UP = 0.1  # share of the course over which the rate rises


@dataclass(frozen=True, slots=True)
class Course:
    """Either `seconds` or `budget_tokens` long; `batch` blocks a step."""

    batch: int
    learning_rate: float
    seed: int
    seconds: float | None
    budget_tokens: int | None

    def done(self, seconds: float, tokens: int) -> float:
        """Return which share of the course lies behind, from 0; 1 and above is the end."""
        if self.seconds is not None:
            return seconds / self.seconds
        assert self.budget_tokens is not None
        return tokens / self.budget_tokens


def one_cycle(done: float) -> float:
    """Return the share of the peak rate: linear rise over the first tenth, linear fall to 0.

    >>> [round(one_cycle(share), 2) for share in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)
    return max(0.0, (1 - done) / (1 - WARM_UP))


def default_rate(hidden: int) -> float:
    """Return the peak learning rate for an encoder `hidden` wide.

    >>> default_rate(128), default_rate(768)
    (0.001, 0.0004)
    """
    return 1e-3 if hidden < 512 else 4e-4
