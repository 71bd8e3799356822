"""Process locks: one search at a time in a study, and one proposal at a time among all workers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from autoprune.errors import StudyError
from autoprune.files import lock_file, lock_folder
from autoprune.storage.errors import storage_failures, unwritable_folder
from autoprune.storage.heartbeat import (
    GRACE_PERIOD,
    HEARTBEAT_ERRORS,
    HEARTBEAT_INTERVAL,
    StalenessMonitor,
    WorkerId,
)

_FOLDER_TIMEOUT = 1.0  # seconds; `is_folder_locked` takes the lock for a moment

_SEARCH_ATTRIBUTE = "searching"

_SETTLE_TIME = 0.5  # seconds after which of two that come at once both see the later one

_POLL_INTERVAL = 1.0  # seconds between two looks at a search of another host


@contextmanager
def lock_study_folder(folder: Path) -> Iterator[None]:
    """Hold the study in `folder`: a second search there raises `StudyError`.

    The operating system releases the lock when the process ends, however it ends. Raises
    `StorageError` where the folder cannot be written.
    """
    try:
        lock = lock_folder(folder, _FOLDER_TIMEOUT)
    except TimeoutError:
        raise StudyError(
            f"another search is at work in {folder}: wait for its end, or use another --study name"
        ) from None
    except OSError as error:
        raise unwritable_folder(folder, error) from None
    with lock:
        yield


@contextmanager
def single_search_lock(
    storage: BaseStorage,
    name: str,
    interval: float = HEARTBEAT_INTERVAL,
    grace_period: float = GRACE_PERIOD,
) -> Iterator[None]:
    """Hold study `name` in its storage: a second search, on any host, raises `StudyError`.

    The lock is a system attribute of the study, with a heartbeat. Where the last search died on
    another host, this waits until it was silent for `grace_period` seconds.
    """
    worker = WorkerId.of_this_process()
    study_id = storage.get_study_id_from_name(name)
    stop = threading.Event()

    def current() -> Any:
        value = storage.get_study_system_attrs(study_id).get(_SEARCH_ATTRIBUTE)
        return value or storage.get_study_user_attrs(study_id).get(_SEARCH_ATTRIBUTE)  # older form

    def is_held() -> bool:
        return (current() or {}).get("holder") == worker.to_dict()

    def write(beat: int) -> None:
        value: Any = {"holder": worker.to_dict(), "beat": beat}
        storage.set_study_system_attr(study_id, _SEARCH_ATTRIBUTE, value)

    def send_heartbeats() -> None:
        beat = 0
        while not stop.wait(interval):
            # An error here also happens in the calls of the search, which report it.
            with suppress(*HEARTBEAT_ERRORS):
                beat += 1
                if is_held():
                    write(beat)

    with worker.active():
        with storage_failures():
            _wait_until_free(current, name, interval, grace_period)
            write(0)
            if storage.get_study_user_attrs(study_id).get(_SEARCH_ATTRIBUTE) is not None:
                storage.set_study_user_attr(study_id, _SEARCH_ATTRIBUTE, None)
            time.sleep(_SETTLE_TIME)
            if not is_held():
                raise _study_is_held(name, current())
        thread = threading.Thread(target=send_heartbeats, name="search heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=interval)
            with suppress(*HEARTBEAT_ERRORS):
                if is_held():
                    storage.set_study_system_attr(study_id, _SEARCH_ATTRIBUTE, None)


def _wait_until_free(
    current: Callable[[], Any], name: str, interval: float, grace_period: float
) -> None:
    """Return when no search holds the study; raises `StudyError` where one is alive."""
    monitor, first = StalenessMonitor(grace_period, interval), current()
    while (value := current()) is not None:
        worker = WorkerId.from_dict(value["holder"])
        if worker is None or worker.is_dead():
            return
        if worker.is_alive() or value != first:
            raise _study_is_held(name, value)
        monitor.update({0: value["beat"]})
        if monitor.is_stale(0):
            return
        time.sleep(_POLL_INTERVAL)


def _study_is_held(name: str, value: Any) -> StudyError:
    worker = WorkerId.from_dict((value or {}).get("holder"))
    description = "" if worker is None else f" ({worker.description})"
    return StudyError(
        f"another search is at work on study {name}{description}: wait for its end, use another "
        "--study name, or help it with autoprune worker"
    )


ProposalLock = Callable[[int], AbstractContextManager[None]]
"""Takes a study's id and returns a lock under which one process at a time proposes a trial.

Workers that know the same propose the same: without this lock all but one of them lose the trial
they claimed and begin again. The lock only saves work; `TrialQueue.claim` is what keeps runs
apart. So where the lock cannot be had, or is held for too long, the work goes on without it.
"""

_PROPOSAL_TIMEOUT = 60  # seconds; a proposal takes one or two

_PROPOSAL_POLL_INTERVAL = 0.005  # seconds

_ADVISORY_KEY = 0x6C617965  # "laye": differs from the advisory locks of other programs


@contextmanager
def no_lock(study_id: int) -> Iterator[None]:  # noqa: ARG001
    """Lock nothing: only one process uses the storage."""
    yield


def file_lock(path: Path) -> ProposalLock:
    """Return a proposal lock that locks the file `path`, for all studies there."""

    @contextmanager
    def hold(study_id: int) -> Iterator[None]:  # noqa: ARG001
        with ExitStack() as stack:
            with suppress(OSError):  # TimeoutError is one
                lock = lock_file(path, _PROPOSAL_TIMEOUT, _PROPOSAL_POLL_INTERVAL)
                stack.enter_context(lock)
            yield

    return hold


def advisory_lock(connect: Callable[[], Connection]) -> ProposalLock:
    """Return a proposal lock by PostgreSQL's advisory locks, which end with the connection."""

    @contextmanager
    def hold(study_id: int) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(SQLAlchemyError):
                connection = connect()
                stack.callback(_close, connection)
                connection.execute(text(f"set local lock_timeout = '{_PROPOSAL_TIMEOUT}s'"))
                keys = {"key": _ADVISORY_KEY, "study": study_id}
                connection.execute(text("select pg_advisory_xact_lock(:key, :study)"), keys)
            yield

    return hold


def _close(connection: Connection) -> None:
    """End the transaction, and the lock with it."""
    with suppress(SQLAlchemyError):
        connection.close()
