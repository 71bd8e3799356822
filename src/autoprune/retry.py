"""Retry: call a function again after a failure that may pass, with waits between the attempts."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from autoprune.errors import first_line

RETRY_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before the second, third, ... attempt

_T = TypeVar("_T")


def call_with_retry(
    call: Callable[[], _T],
    is_transient: Callable[[Exception], bool],
    subject: str,
    waits: Sequence[float] = RETRY_WAITS,
    *,
    sleep: Callable[[float], None] | None = None,
    log_level: int = logging.WARNING,
) -> _T:
    """Return `call()`, called again after each transient failure.

    `subject` names in the log what is retried; `sleep` waits, by default `time.sleep`. There are at
    most `len(waits) + 1` attempts. Raises the failure of the last one, and at once any failure that
    is not transient.
    """
    for wait in waits:
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            log = logging.getLogger(__name__)
            log.log(log_level, "%s: %s; retry in %g s", subject, first_line(error), wait)
            (sleep or time.sleep)(wait)
    return call()
