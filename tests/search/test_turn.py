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
from autoprune.storage.storage import open_storage

HOLDER = """
import sys, time
import fake_worker
from autoprune.storage.storage import open_storage
storage = open_storage(*fake_worker.place_of(sys.argv[1]))
with storage.turn(storage.get_study_id_from_name("fake")):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(place):
    """Start a process that has the turn, and hangs; it finds `fake_worker` in its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, place],
        cwd=Path(fake_worker.__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def seconds(place):
    """Return how long the turn was waited for."""
    storage = open_storage(*fake_worker.place_of(place))
    study = storage.get_study_id_from_name("fake")
    began = time.monotonic()
    with storage.turn(study):
        waited = time.monotonic() - began
    with storage.turn(study):  # it was given back
        return waited


def test_nobody_waits_for_ever(place, holder, monkeypatch):
    monkeypatch.setattr(locks, "_LONGEST", 0.7)
    assert seconds(place) >= 0.6
    assert holder.poll() is None


def test_a_killed_process_has_no_turn(place, holder):
    holder.kill()
    holder.wait()
    assert seconds(place) < locks._LONGEST / 2


def test_a_turn_ends_with_its_block_also_by_an_error(place):
    storage = open_storage(*fake_worker.place_of(place))
    study = storage.get_study_id_from_name("fake")
    with pytest.raises(ZeroDivisionError), storage.turn(study):
        1 / 0  # noqa: B018
    assert seconds(place) < locks._LONGEST / 2


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


def test_workers_that_know_the_same_lose_no_claim(place):
    command = [sys.executable, fake_worker.__file__, place, "random", "40", "5"]
    begun = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(120) for process in begun] == [0] * 4
    storage = open_storage(*fake_worker.place_of(place))
    trials = optuna.load_study(study_name="fake", storage=storage).trials
    assert [trial.user_attrs[REFUSED] for trial in trials if REFUSED in trial.user_attrs] == []


def test_a_storage_that_only_one_process_knows_needs_none():
    desk = TrialQueue(optuna.storages.InMemoryStorage(), 0, None, 5, None)
    with desk.turn():
        pass
