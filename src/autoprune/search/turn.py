"""Turns: who proposes and claims next, among all processes at work on a study.

Workers that know the same propose the same run: without turns all but one of them lose what they
claimed, write that down, and begin again. A turn is a courtesy, not what keeps runs apart (see
`claims`): where it cannot be had, or is held for too long, the work goes on without.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

Turn = Callable[[int], AbstractContextManager[None]]
"""Takes a study's id; nobody else has the turn until the block ends."""

_LONGEST = 60  # seconds; a proposal takes one or two
_POLL = 0.005  # seconds between two looks at a file's lock
_SPACE = 0x6C617965  # "laye": apart from the advisory locks of other programs


@contextmanager
def none(study: int) -> Iterator[None]:  # noqa: ARG001
    """Give the turn at once: only one process knows the storage."""
    yield


def by_file(path: Path) -> Turn:
    """Return turns by the lock of the file `path`, for all studies there."""
    lock = FileLock(path, timeout=_LONGEST, poll_interval=_POLL)

    @contextmanager
    def turn(study: int) -> Iterator[None]:  # noqa: ARG001
        with suppress(Timeout, OSError):
            lock.acquire()
        try:
            yield
        finally:
            if lock.is_locked:
                lock.release()

    return turn


def by_server(connect: Callable[[], Connection]) -> Turn:
    """Return turns by an advisory lock of PostgreSQL, which goes with its holder's connection."""

    @contextmanager
    def turn(study: int) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(SQLAlchemyError):
                connection = connect()
                stack.callback(_let_go, connection)
                connection.execute(text(f"set local lock_timeout = '{_LONGEST}s'"))
                whose = {"space": _SPACE, "study": study}
                connection.execute(text("select pg_advisory_xact_lock(:space, :study)"), whose)
            yield

    return turn


def _let_go(connection: Connection) -> None:
    """End the transaction, and the lock with it."""
    with suppress(SQLAlchemyError):
        connection.close()
