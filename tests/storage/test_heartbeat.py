"""Who is alive: judged by the process where it can be seen, else by beats and one's own clock."""

import os
import subprocess
import sys
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


def look(observer, clock, seconds, beats):
    clock.now += seconds
    observer.update(beats)


def test_a_counter_that_stands_still_is_silent_after_the_patience(clock):
    observer = StalenessMonitor(60, 10, clock)
    for number in range(8):
        look(observer, clock, 10, {1: number, 2: 5})
        assert not observer.is_stale(1)
        assert observer.is_stale(2) == (number > 6)


def test_time_in_which_nobody_looked_is_not_counted(clock):
    observer = StalenessMonitor(60, 10, clock)
    look(observer, clock, 0, {1: 5})
    look(observer, clock, 3600, {1: 5})  # the storage was away, and no beat could come
    assert not observer.is_stale(1)
    for _ in range(4):
        look(observer, clock, 10, {1: 5})
    assert not observer.is_stale(1)
    look(observer, clock, 10, {1: 5})
    assert observer.is_stale(1)


def test_a_beat_ends_the_silence(clock):
    observer = StalenessMonitor(60, 10, clock)
    for _ in range(8):
        look(observer, clock, 10, {1: 5})
    assert observer.is_stale(1)
    look(observer, clock, 10, {1: 6})
    assert not observer.is_stale(1)


@pytest.fixture
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def begin(study, holder, beat=0):
    trial = study.ask()
    trial.set_user_attr(HOLDER, holder.to_dict())
    trial.set_user_attr(BEAT, beat)
    return trial


def elsewhere():
    return replace(WorkerId.of_this_process(), host="another/1234/pid:[1]")


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_kills_nobody(study, jump, monkeypatch):
    begin(study, elsewhere())
    leases = Heartbeat(study._storage, study._study_id)
    assert leases.stale_trials(study.trials) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert leases.stale_trials(study.trials) == []


def test_a_worker_elsewhere_lives_as_long_as_it_beats(study, monkeypatch):
    trial = begin(study, elsewhere())
    leases = Heartbeat(study._storage, study._study_id, interval=0.05, grace_period=0.2)
    for beat in range(8):
        trial.set_user_attr(BEAT, beat)
        assert leases.stale_trials(study.trials) == []
        time.sleep(0.08)
    for _ in range(8):
        dead = leases.stale_trials(study.trials)
        time.sleep(0.08)
    assert [one.number for one in dead] == [0]


def test_a_process_of_this_host_is_dead_at_once_when_it_is_gone(study):
    program = "import sys, time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        own = WorkerId.of_this_process()
        started = int(_stat(process.pid)[21])
        holder = replace(own, id="other", pid=process.pid, started=started)
        begin(study, holder)
        leases = Heartbeat(study._storage, study._study_id)
        assert leases.stale_trials(study.trials) == []
        begin(study, replace(holder, started=started - 500))  # the number of one that is gone
        assert [one.number for one in leases.stale_trials(study.trials)] == [1]
        process.kill()
        process.wait()
        assert [one.number for one in leases.stale_trials(study.trials)] == [0, 1]


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().split()


def test_a_search_of_this_process_is_gone_when_it_has_ended(study):
    mine, other = (
        Heartbeat(study._storage, study._study_id),
        Heartbeat(study._storage, study._study_id),
    )
    begin(study, mine.worker)
    with mine.running():
        assert other.stale_trials(study.trials) == []
    assert [one.number for one in other.stale_trials(study.trials)] == [0]
    assert mine.worker.pid == os.getpid()


def test_what_is_held_beats_and_is_never_dead(study):
    leases = Heartbeat(study._storage, study._study_id, interval=0.02, grace_period=0.1)
    trial = begin(study, leases.worker)
    with leases.running():
        leases.hold(trial._trial_id)
        time.sleep(0.5)
        beats = study.trials[0].user_attrs[BEAT]
        assert beats > 5
        assert leases.stale_trials(study.trials) == []
        leases.release(trial._trial_id)
        study.tell(trial, 0.5)
    time.sleep(0.1)
    assert study.trials[0].user_attrs[BEAT] <= beats + 3


def test_a_beat_for_a_trial_that_has_ended_is_no_error(study):
    leases = Heartbeat(study._storage, study._study_id)
    trial = begin(study, leases.worker)
    study.tell(trial, 0.5)
    leases.hold(trial._trial_id)
    leases.beat()
    assert study.trials[0].user_attrs[BEAT] == 0


def test_a_holder_can_be_written_and_read():
    mine = WorkerId.of_this_process()
    assert WorkerId.from_dict(mine.to_dict()) == mine
    assert WorkerId.from_dict(None) is None
    assert WorkerId.from_dict({"id": "x"}) is None
