"""One search at a time on a database; what a dead one held is taken over."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

import fake_worker
from autoprune.errors import StudyError
from autoprune.storage import locks
from autoprune.storage.heartbeat import WorkerId
from autoprune.storage.locks import single_search_lock
from autoprune.storage.storage import open_storage

PROGRAM = """
import sys, time
from autoprune.storage.locks import single_search_lock
from autoprune.storage.storage import open_storage
with single_search_lock(open_storage(sys.argv[1], None), "fake"):
    print("leads", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def location(tmp_path):
    location = f"sqlite:///{tmp_path / 'study.db'}"
    fake_worker.create_study(location)
    return location


@pytest.fixture
def storage(location):
    return open_storage(location, None)


def test_a_second_search_is_refused_until_the_first_is_gone(location, storage):
    command = [sys.executable, "-c", PROGRAM, location]
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


def test_one_of_another_host_is_waited_for_and_refused_when_it_beats(storage, monkeypatch):
    monkeypatch.setattr(locks, "_POLL_INTERVAL", 0.02)
    study = storage.get_study_id_from_name("fake")
    far = {"holder": replace(WorkerId.of_this_process(), host="far/1/2").to_dict(), "beat": 1}
    storage.set_study_user_attr(study, "searching", far)
    began = time.monotonic()
    with single_search_lock(storage, "fake", interval=0.05, grace_period=0.3):
        assert time.monotonic() - began > 0.3
    storage.set_study_user_attr(study, "searching", far)
    beats = iter(range(2, 99))

    def beat(seconds):
        storage.set_study_user_attr(study, "searching", far | {"beat": next(beats)})

    monkeypatch.setattr(locks.time, "sleep", beat)
    with pytest.raises(StudyError, match=r"process \d+ on far"):
        single_search_lock(storage, "fake").__enter__()


def test_of_two_that_come_at_once_the_later_one_leads(storage, monkeypatch):
    study = storage.get_study_id_from_name("fake")
    other = {"holder": WorkerId.of_this_process().to_dict(), "beat": 0}
    monkeypatch.setattr(
        locks.time, "sleep", lambda _: storage.set_study_user_attr(study, "searching", other)
    )
    with pytest.raises(StudyError, match="another search is at work"):
        single_search_lock(storage, "fake").__enter__()


def test_the_lease_is_renewed(storage):
    study = storage.get_study_id_from_name("fake")
    with single_search_lock(storage, "fake", interval=0.02):
        time.sleep(0.5)
        assert storage.get_study_user_attrs(study)["searching"]["beat"] > 2
    assert storage.get_study_user_attrs(study)["searching"] is None
