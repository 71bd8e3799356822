"""Events: what a command does, told to those that keep it."""

import logging
from typing import Any

_log = logging.getLogger("autoprune.events")
_log.setLevel(logging.INFO)
_log.propagate = False  # nobody else's affair, and nobody's at all while nothing keeps it
_log.addHandler(logging.NullHandler())


def keep_by(handler: logging.Handler) -> None:
    """Hand events to `handler` from now on: their name is the message, `fields` what belongs."""
    _log.addHandler(handler)


def tell(event: str, **fields: Any) -> None:
    """Tell an event with what belongs to it, as JSON values, to those that keep events."""
    _log.info(event, extra={"fields": fields})


def close(code: int) -> None:
    """Tell with which code the command ends, and close those that keep events."""
    tell("command ended", code=code)
    for handler in list(_log.handlers):
        if not isinstance(handler, logging.NullHandler):
            _log.removeHandler(handler)
            handler.close()
