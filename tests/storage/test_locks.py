"""Locks: one search at a time in a study, one proposal at a time, and none waits for the dead."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from sqlalchemy import create_engine

import fake_worker
from autoprune.errors import StudyError
from autoprune.files import is_folder_locked
from autoprune.search.trial import REFUSED
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage import locks
from autoprune.storage.heartbeat import WorkerId
from autoprune.storage.locks import (
    advisory_lock,
    file_lock,
    lock_study_folder,
    single_search_lock,
)
from autoprune.storage.storage import open_storage

HOLDER = """
import sys, time
import fake_worker
storage = fake_worker.open_location(sys.argv[1])
with storage.proposal_lock(storage.get_study_id_from_name("fake")):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(location):
    """Start a process that has the turn, and hangs; it finds `fake_worker` in its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, location],
        cwd=Path(fake_worker.__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def seconds(location):
    """Return how long the turn was waited for."""
    storage = fake_worker.open_location(location)
    study = storage.get_study_id_from_name("fake")
    began = time.monotonic()
    with storage.proposal_lock(study):
        waited = time.monotonic() - began
    with storage.proposal_lock(study):  # it was given back
        return waited


def test_proposal_lock_times_out(location, holder, monkeypatch):
    monkeypatch.setattr(locks, "_PROPOSAL_TIMEOUT", 0.7)
    assert seconds(location) >= 0.6
    assert holder.poll() is None


def test_proposal_lock_of_a_killed_process_is_released(location, holder):
    holder.kill()
    holder.wait()
    assert seconds(location) < locks._PROPOSAL_TIMEOUT / 2


def test_proposal_lock_is_released_after_an_error(location):
    storage = fake_worker.open_location(location)
    study = storage.get_study_id_from_name("fake")
    with pytest.raises(ZeroDivisionError), storage.proposal_lock(study):
        1 / 0  # noqa: B018
    assert seconds(location) < locks._PROPOSAL_TIMEOUT / 2


@pytest.mark.parametrize(
    "made",
    [
        lambda folder: file_lock(folder / "nowhere" / "turn"),
        lambda _: advisory_lock(create_engine("postgresql+psycopg://ann@127.0.0.1:1/x").connect),
    ],
    ids=["file", "server"],
)
def test_proposal_lock_that_cannot_be_had_is_ignored(made, tmp_path):
    done = []
    with made(tmp_path)(0):
        done.append(1)
    assert done == [1]


@pytest.mark.slow
def test_proposal_lock_prevents_rejected_claims(location):
    command = [sys.executable, fake_worker.__file__, location, "random", "40", "5"]
    begun = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(120) for process in begun] == [0] * 4
    storage = fake_worker.open_location(location)
    trials = optuna.load_study(study_name="fake", storage=storage).trials
    assert [trial.user_attrs[REFUSED] for trial in trials if REFUSED in trial.user_attrs] == []


def test_proposal_lock_of_a_storage_in_memory_does_nothing():
    queue = TrialQueue(optuna.storages.InMemoryStorage(), 0, None, None)
    with queue.proposal_lock():
        pass


SEARCH = """
import sys, time
from autoprune.storage.locks import single_search_lock
from autoprune.storage.storage import open_storage
with single_search_lock(open_storage(sys.argv[1], None), "fake"):
    print("leads", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def database(tmp_path):
    """Return the URL of an SQLite database with a new study."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fake_worker.create_study(url)
    return url


@pytest.fixture
def storage(database):
    return open_storage(database, None)


def test_single_search_lock_refuses_a_second_search_until_the_first_ends(database, storage):
    command = [sys.executable, "-c", SEARCH, database]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "leads\n"
        with pytest.raises(StudyError, match=f"another search .* fake .process {first.pid} on "):
            single_search_lock(storage, "fake").__enter__()
        first.kill()
    with (
        single_search_lock(storage, "fake"),
        pytest.raises(StudyError, match="another search is at work"),
    ):
        single_search_lock(storage, "fake").__enter__()
    with single_search_lock(storage, "fake"):
        pass


@pytest.mark.parametrize("kind", ["system", "user"])  # the latter in older studies
def test_single_search_lock_waits_for_a_silent_search_of_another_host(kind, storage, monkeypatch):
    monkeypatch.setattr(locks, "_POLL_INTERVAL", 0.02)
    study = storage.get_study_id_from_name("fake")
    far = {"holder": replace(WorkerId.of_this_process(), host="far/1/2").to_dict(), "beat": 1}
    write = getattr(storage, f"set_study_{kind}_attr")
    write(study, "searching", far)
    began = time.monotonic()
    with single_search_lock(storage, "fake", interval=0.05, grace_period=0.3):
        assert time.monotonic() - began > 0.3
        assert storage.get_study_user_attrs(study).get("searching") is None
    write(study, "searching", far)
    beats = iter(range(2, 99))

    def beat(seconds):
        write(study, "searching", far | {"beat": next(beats)})

    monkeypatch.setattr(locks.time, "sleep", beat)
    with pytest.raises(StudyError, match=r"process \d+ on far"):
        single_search_lock(storage, "fake").__enter__()


def test_single_search_lock_of_two_at_once_goes_to_the_later(storage, monkeypatch):
    study = storage.get_study_id_from_name("fake")
    other = {"holder": WorkerId.of_this_process().to_dict(), "beat": 0}
    monkeypatch.setattr(
        locks.time, "sleep", lambda _: storage.set_study_system_attr(study, "searching", other)
    )
    with pytest.raises(StudyError, match="another search is at work"):
        single_search_lock(storage, "fake").__enter__()


def test_single_search_lock_sends_heartbeats(storage):
    study = storage.get_study_id_from_name("fake")
    with single_search_lock(storage, "fake", interval=0.02):
        time.sleep(0.5)
        assert storage.get_study_system_attrs(study)["searching"]["beat"] > 2
    assert storage.get_study_system_attrs(study)["searching"] is None


def test_lock_study_folder_refuses_a_second_search(tmp_path):
    program = (
        "import pathlib, sys, time\n"
        "from autoprune.storage.locks import lock_study_folder\n"
        f"with lock_study_folder(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(StudyError, match="another search is at work in"),
        lock_study_folder(tmp_path),
    ):
        pass
    holder.kill()
    holder.communicate()
    with lock_study_folder(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_lock_study_folder_waits_for_is_folder_locked(tmp_path):
    """A look takes the lock for a moment, and may take it again and again."""
    look = FileLock(tmp_path / ".lock", thread_local=False)
    look.acquire()
    threading.Timer(0.3, look.release).start()
    with lock_study_folder(tmp_path):
        assert is_folder_locked(tmp_path)
    assert not is_folder_locked(tmp_path)
