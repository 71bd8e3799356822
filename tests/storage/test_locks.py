"""Turns: one process proposes at a time, and none waits for one that is gone or hangs."""

import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine

import fake_worker
from autoprune.search.trial import REFUSED
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage import locks
from autoprune.storage.locks import advisory_lock, file_lock

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


def test_nobody_waits_for_ever(location, holder, monkeypatch):
    monkeypatch.setattr(locks, "_PROPOSAL_TIMEOUT", 0.7)
    assert seconds(location) >= 0.6
    assert holder.poll() is None


def test_a_killed_process_has_no_turn(location, holder):
    holder.kill()
    holder.wait()
    assert seconds(location) < locks._PROPOSAL_TIMEOUT / 2


def test_a_turn_ends_with_its_block_also_by_an_error(location):
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
def test_where_there_is_none_the_work_goes_on(made, tmp_path):
    done = []
    with made(tmp_path)(0):
        done.append(1)
    assert done == [1]


def test_workers_that_know_the_same_lose_no_claim(location):
    command = [sys.executable, fake_worker.__file__, location, "random", "40", "5"]
    begun = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(120) for process in begun] == [0] * 4
    storage = fake_worker.open_location(location)
    trials = optuna.load_study(study_name="fake", storage=storage).trials
    assert [trial.user_attrs[REFUSED] for trial in trials if REFUSED in trial.user_attrs] == []


def test_a_storage_that_only_one_process_knows_needs_none():
    queue = TrialQueue(optuna.storages.InMemoryStorage(), 0, None, None)
    with queue.proposal_lock():
        pass
