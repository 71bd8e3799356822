"""Who is alive: judged by the process where it can be seen, else by beats and one's here clock."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from autoprune.storage.heartbeat import BEAT, HOLDER, Heartbeat, StalenessMonitor, WorkerId


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def look(monitor, clock, seconds, beats):
    clock.now += seconds
    monitor.update(beats)


def test_staleness_of_a_constant_counter_after_the_grace_period(clock):
    monitor = StalenessMonitor(60, 10, clock)
    for number in range(8):
        look(monitor, clock, 10, {1: number, 2: 5})
        assert not monitor.is_stale(1)
        assert monitor.is_stale(2) == (number > 6)


def test_staleness_does_not_count_time_without_updates(clock):
    monitor = StalenessMonitor(60, 10, clock)
    look(monitor, clock, 0, {1: 5})
    look(monitor, clock, 3600, {1: 5})  # the storage was away, and no beat could come
    assert not monitor.is_stale(1)
    for _ in range(4):
        look(monitor, clock, 10, {1: 5})
    assert not monitor.is_stale(1)
    look(monitor, clock, 10, {1: 5})
    assert monitor.is_stale(1)


def test_staleness_ends_with_a_heartbeat(clock):
    monitor = StalenessMonitor(60, 10, clock)
    for _ in range(8):
        look(monitor, clock, 10, {1: 5})
    assert monitor.is_stale(1)
    look(monitor, clock, 10, {1: 6})
    assert not monitor.is_stale(1)


@pytest.fixture
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def begin(study, worker, beat=0):
    trial = study.ask()
    set_attribute(study, trial, HOLDER, worker.to_dict())
    set_attribute(study, trial, BEAT, beat)
    return trial


def set_attribute(study, trial, key, value):
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


def elsewhere():
    return replace(WorkerId.of_this_process(), host="another/1234/pid:[1]")


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_stale_trials_ignore_a_jump_of_the_clock(study, jump, monkeypatch):
    begin(study, elsewhere())
    heartbeat = Heartbeat(study._storage, study._study_id)
    assert heartbeat.stale_trials(study.trials) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert heartbeat.stale_trials(study.trials) == []


def test_stale_trials_of_another_host_need_a_silent_heartbeat(study, monkeypatch):
    trial = begin(study, elsewhere())
    heartbeat = Heartbeat(study._storage, study._study_id, interval=0.05, grace_period=0.2)
    for beat in range(8):
        set_attribute(study, trial, BEAT, beat)
        assert heartbeat.stale_trials(study.trials) == []
        time.sleep(0.08)
    for _ in range(8):
        dead = heartbeat.stale_trials(study.trials)
        time.sleep(0.08)
    assert [one.number for one in dead] == [0]


def test_stale_trials_of_this_host_are_known_when_the_process_ends(study):
    program = "import sys, time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        here = WorkerId.of_this_process()
        started = int(_stat(process.pid)[21])
        worker = replace(here, id="other", pid=process.pid, started=started)
        begin(study, worker)
        heartbeat = Heartbeat(study._storage, study._study_id)
        assert heartbeat.stale_trials(study.trials) == []
        begin(study, replace(worker, started=started - 500))  # the number of one that is gone
        assert [one.number for one in heartbeat.stale_trials(study.trials)] == [1]
        process.kill()
        process.wait()
        assert [one.number for one in heartbeat.stale_trials(study.trials)] == [0, 1]


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().split()


def test_stale_trials_of_an_ended_search_in_this_process(study):
    mine, other = (
        Heartbeat(study._storage, study._study_id),
        Heartbeat(study._storage, study._study_id),
    )
    begin(study, mine.worker)
    with mine.running():
        assert other.stale_trials(study.trials) == []
    assert [one.number for one in other.stale_trials(study.trials)] == [0]
    assert mine.worker.pid == os.getpid()


def test_heartbeat_of_a_held_trial_rises(study):
    heartbeat = Heartbeat(study._storage, study._study_id, interval=0.02, grace_period=0.1)
    trial = begin(study, heartbeat.worker)
    with heartbeat.running():
        heartbeat.hold(trial._trial_id)
        time.sleep(0.5)
        beats = study.trials[0].system_attrs[BEAT]
        assert beats > 5
        assert heartbeat.stale_trials(study.trials) == []
        heartbeat.release(trial._trial_id)
        study.tell(trial, 0.5)
    time.sleep(0.1)
    assert study.trials[0].system_attrs[BEAT] <= beats + 3


def test_heartbeat_of_an_ended_trial_is_no_error(study):
    heartbeat = Heartbeat(study._storage, study._study_id)
    trial = begin(study, heartbeat.worker)
    study.tell(trial, 0.5)
    heartbeat.hold(trial._trial_id)
    heartbeat.beat()
    assert study.trials[0].system_attrs[BEAT] == 0


def test_heartbeat_of_a_deleted_study_ends_without_a_traceback(study, capsys):
    heartbeat = Heartbeat(study._storage, study._study_id, interval=0.02, grace_period=0.1)
    trial = begin(study, heartbeat.worker)
    with heartbeat.running():
        heartbeat.hold(trial._trial_id)
        study._storage.delete_study(study._study_id)
        time.sleep(0.2)
        assert "heartbeat" in {thread.name for thread in threading.enumerate()}
    assert capsys.readouterr().err == ""


def test_worker_id_from_dict_reads_to_dict():
    mine = WorkerId.of_this_process()
    assert WorkerId.from_dict(mine.to_dict()) == mine
    assert WorkerId.from_dict(None) is None
    assert WorkerId.from_dict({"id": "x"}) is None
