"""A timer: whether another round of trials still fits into the time given."""

import time


class Timer:
    """Counts from its making; `seconds` None: there is always time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._slowest = 0.0
        self._begun = self._last = time.monotonic()
        self._rounds = -1

    def over(self) -> bool:
        """Tell, before each round, whether it would end too late if it were as the slowest so far.

        The first round is always made: without it there is nothing to choose from.
        """
        now = time.monotonic()
        if self._rounds >= 0:
            self._slowest = max(self._slowest, now - self._last)
        self._rounds += 1
        self._last = now
        if self._seconds is None or not self._rounds:
            return False
        return now + self._slowest - self._begun > self._seconds
