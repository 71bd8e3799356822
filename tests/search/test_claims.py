"""Many processes on one study: each run is made once, and none is lost with its worker."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import fake_worker
from autoprune.search.history import read_history
from autoprune.search.trial import (
    DIED,
    FAILED,
    INTERRUPTED,
    TrialRun,
    is_finished_trial,
    run_of_trial,
)
from autoprune.storage.storage import open_storage

PROGRAM = Path(fake_worker.__file__)
RUNS = 30


@pytest.fixture
def workers():
    """Return a function that starts a worker; those that still run at the end are killed."""
    begun = []

    def start(*arguments):
        command = [sys.executable, PROGRAM, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def study_of(place):
    storage = open_storage(*fake_worker.place_of(place))
    return optuna.load_study(study_name="fake", storage=storage)


def runs(study):
    return Counter(run_of_trial(trial, 10) for trial in study.trials if is_finished_trial(trial))


def undisturbed(tmp_path, sampler, trials):
    return fake_worker.run(str(tmp_path / "undisturbed"), sampler, trials, 0)


def test_four_processes_make_each_run_once(place, workers, tmp_path):
    begun = [workers(place, "random", RUNS, 5) for _ in range(4)]
    told = [process.communicate(timeout=120) for process in begun]
    assert [err for _, err in told] == [""] * 4
    assert len({out for out, _ in told}) == 1  # all waited for the others' last ones
    study = study_of(place)
    made = runs(study)
    assert (len(made), made.total()) == (RUNS, RUNS)
    at_work = [
        trial.user_attrs["worker"]["pid"]
        for trial in study.trials
        if trial.state == TrialState.COMPLETE
    ]
    assert len(set(at_work)) > 1
    assert set(at_work) <= {process.pid for process in begun}
    alone = undisturbed(tmp_path, "random", RUNS)
    assert set(made) == {TrialRun(one.layout, one.seed, one.fidelity) for one in alone.findings}


@pytest.mark.parametrize("moment", ["claim", "tell"])
def test_a_killed_workers_run_is_made_again(place, moment, workers, tmp_path):
    killed = workers(place, "random", 12, 1, moment)
    assert killed.stdout.readline() == "hangs\n"
    other = workers(place, "random", 12, 1)
    study = study_of(place)
    until = time.monotonic() + 60
    while runs(study).total() < 11 and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    assert other.poll() is None  # the last one is under way elsewhere
    assert runs(study).total() == 11
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    out, err = other.communicate(timeout=30)
    assert err == ""
    study = study_of(place)
    dead = [trial for trial in study.trials if DIED in trial.user_attrs]
    assert [trial.number for trial in dead] == [0]
    assert f"process {killed.pid} on " in dead[0].user_attrs[INTERRUPTED]
    made = runs(study)
    assert (len(made), made.total()) == (12, 12)
    alone = undisturbed(tmp_path, "random", 12)
    assert sorted(out.splitlines()) == sorted(
        f"{one.layout} {one.seed} {one.score.quality}" for one in alone.findings
    )


def test_a_run_that_kills_three_workers_has_failed(tmp_path, workers):
    place = str(tmp_path / "study")
    for _ in range(3):
        killed = workers(place, "gp", 4, 1, "claim")
        assert killed.stdout.readline() == "hangs\n"
        killed.kill()
        killed.wait()
    outcome = fake_worker.run(place, "gp", 4, 1)
    assert [finding.state for finding in outcome.findings] == ["failed", *["complete"] * 3]
    assert "died each of the 3 times it was run" in outcome.findings[0].reason
    failed = [trial for trial in study_of(place).trials if FAILED in trial.user_attrs]
    assert len(failed) == 1
    assert fake_worker.run(place, "gp", 5, 1).findings[0] == outcome.findings[0]


def test_a_finished_run_is_never_made_again(place, workers):
    first = fake_worker.run(place, "gp", 6, 0)
    killed = workers(place, "gp", 9, 1, "claim")
    assert killed.stdout.readline() == "hangs\n"
    killed.kill()
    killed.wait()
    assert fake_worker.run(place, "gp", 6, 0) == first
    assert fake_worker.run(place, "gp", 9, 0).findings[:6] == first.findings
    assert runs(study_of(place)).total() == 9


def test_a_proposal_that_comes_second_gives_way(tmp_path):
    place = str(tmp_path / "study")
    fake_worker.run(place, "gp", 3, 0)
    storage = open_storage(*fake_worker.place_of(place))
    desks = [fake_worker.desk(storage) for _ in range(2)]
    with desks[0].leases.kept(), desks[1].leases.kept():
        run = desks[0].sampler.next(desks[0].trials())
        other = desks[0].sampler.run(
            fake_worker.FIRST["top"], read_history(desks[0].trials(), 10, 5)
        )
        assert other.seed == run.seed
        assert desks[0].claim(run, "search").run == run
        assert desks[1].claim(run, "search") is None
        assert desks[1].claim(other, "search") is None  # a seed of its own for each run
        again = desks[1].sampler.next(desks[1].trials())
        assert desks[1].claim(again, "search").run == again
        assert again.seed == run.seed + 1
    refused = [trial.user_attrs.get("refused") for trial in study_of(place).trials[3:]]
    assert refused == [
        None,
        f"layout {run.layout} has been tried with seed {run.seed}",
        f"seed {run.seed} is that of another run",
        None,
    ]


def test_a_trial_that_waits_is_taken_by_one(place):
    study = study_of(place)
    study.enqueue_trial(dict.fromkeys([f"layer_{i:02d}" for i in range(5)], 0) | dict.fromkeys(
        [f"layer_{i:02d}" for i in range(5, 10)], 1
    ))  # fmt: skip
    desks = [fake_worker.desk(open_storage(*fake_worker.place_of(place))) for _ in range(2)]
    waiting = desks[0].trials()[0]
    taken = [desk.take(waiting) for desk in desks]
    assert (str(taken[0].run.layout), taken[0].run.seed, taken[1]) == ("10:5-9", 1000, None)
    assert study.trials[0].params["seed"] == 1000
