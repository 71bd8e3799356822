"""A timer: whether another round of trials still fits into the time given."""

import time


class Timer:
    """Counts from its making; `seconds` None: there is always time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._slowest = 0.0
        self._begun = time.monotonic()
        self._last: float | None = None

    def over(self) -> bool:
        """Tell, before each round, whether it would end too late if it were as the slowest so far.

        The first round is always made: without it there is nothing to choose from.
        """
        last, self._last = self._last, time.monotonic()
        if self._seconds is None or last is None:
            return False
        self._slowest = max(self._slowest, self._last - last)
        return self._last + self._slowest - self._begun > self._seconds
