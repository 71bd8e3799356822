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

PROGRAM = Path(fake_worker.__file__)
RUNS = 30


@pytest.fixture
def workers():
    """Return a function that starts a worker; those that still run at the end are killed."""
    begun = []

    def start(*arguments):
        command = [sys.executable, PROGRAM, *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(command, **pipes, text=True)
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def study_of(location):
    storage = fake_worker.open_location(location)
    return optuna.load_study(study_name="fake", storage=storage)


def runs(study):
    return Counter(run_of_trial(trial, 10) for trial in study.trials if is_finished_trial(trial))


def undisturbed(tmp_path, sampler, trials):
    return fake_worker.run_search(str(tmp_path / "undisturbed"), sampler, trials, 0)


@pytest.mark.parametrize(
    "location",
    [
        "journal",
        pytest.param("sqlite", marks=pytest.mark.slow),
        pytest.param("postgresql", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_trial_queue_of_four_processes_runs_each_trial_once(location, workers, tmp_path):
    begun = [workers(location, "random", RUNS, 20, "start") for _ in range(4)]
    assert [process.stdout.readline() for process in begun] == ["ready\n"] * 4
    for process in begun:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in begun]
    assert [err for _, err in outputs] == [""] * 4
    assert len({out for out, _ in outputs}) == 1  # all waited for the others' last ones
    study = study_of(location)
    made = runs(study)
    assert (len(made), made.total()) == (RUNS, RUNS)
    at_work = [
        trial.system_attrs["worker"]["pid"]
        for trial in study.trials
        if trial.state == TrialState.COMPLETE
    ]
    assert len(set(at_work)) > 1
    assert set(at_work) <= {process.pid for process in begun}
    undisturbed_result = undisturbed(tmp_path, "random", RUNS)
    assert set(made) == {
        TrialRun(one.layout, one.seed, one.fidelity) for one in undisturbed_result.trial_results
    }


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["claim", "close"])
def test_stale_trial_of_a_killed_worker_is_repeated(location, moment, workers, tmp_path):
    killed = workers(location, "random", 12, 1, moment)
    assert killed.stdout.readline() == "hangs\n"
    other = workers(location, "random", 12, 1)
    study = study_of(location)
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
    study = study_of(location)
    dead = [trial for trial in study.trials if DIED in trial.user_attrs]
    assert [trial.number for trial in dead] == [0]
    assert f"process {killed.pid} on " in dead[0].user_attrs[INTERRUPTED]
    made = runs(study)
    assert (len(made), made.total()) == (12, 12)
    undisturbed_result = undisturbed(tmp_path, "random", 12)
    assert sorted(out.splitlines()) == sorted(
        f"{one.layout} {one.seed} {one.score.quality}" for one in undisturbed_result.trial_results
    )


def test_stale_trial_fails_after_three_deaths(tmp_path, workers):
    location = str(tmp_path / "study")
    for _ in range(3):
        killed = workers(location, "gp", 4, 1, "claim")
        assert killed.stdout.readline() == "hangs\n"
        killed.kill()
        killed.wait()
    outcome = fake_worker.run_search(location, "gp", 4, 1)
    assert [result.state for result in outcome.trial_results] == ["failed", *["complete"] * 3]
    assert "died each of the 3 times it was run" in outcome.trial_results[0].reason
    failed = [trial for trial in study_of(location).trials if FAILED in trial.user_attrs]
    assert len(failed) == 1
    assert fake_worker.run_search(location, "gp", 5, 1).trial_results[0] == outcome.trial_results[0]


def test_finished_trial_is_never_repeated(location, workers):
    first = fake_worker.run_search(location, "gp", 6, 0)
    killed = workers(location, "gp", 9, 1, "claim")
    assert killed.stdout.readline() == "hangs\n"
    killed.kill()
    killed.wait()
    assert fake_worker.run_search(location, "gp", 6, 0) == first
    assert fake_worker.run_search(location, "gp", 9, 0).trial_results[:6] == first.trial_results
    assert runs(study_of(location)).total() == 9


def test_claim_of_the_same_run_goes_to_the_first(tmp_path):
    location = str(tmp_path / "study")
    fake_worker.run_search(location, "gp", 3, 0)
    storage = fake_worker.open_location(location)
    queues = [fake_worker.trial_queue(storage) for _ in range(2)]
    with queues[0].heartbeat.running(), queues[1].heartbeat.running():
        run = queues[0].sampler.propose_run(read_history(queues[0].trials(), 10, 5))
        other = queues[0].sampler.make_run(
            fake_worker.SETTINGS["initial_layouts"]["top"], read_history(queues[0].trials(), 10, 5)
        )
        assert other.seed == run.seed
        assert queues[0].claim(run, "search").run == run
        assert queues[1].claim(run, "search") is None
        assert queues[1].claim(other, "search") is None  # a seed of its own for each run
        again = queues[1].sampler.propose_run(read_history(queues[1].trials(), 10, 5))
        assert queues[1].claim(again, "search").run == again
        assert again.seed == run.seed + 1
    refused = [trial.user_attrs.get("refused") for trial in study_of(location).trials[3:]]
    assert refused == [
        None,
        f"layout {run.layout} has been tried with seed {run.seed}",
        f"seed {run.seed} is that of another run",
        None,
    ]


def test_waiting_trial_is_claimed_once(location):
    study = study_of(location)
    study.enqueue_trial(dict.fromkeys([f"layer_{i:02d}" for i in range(5)], 0) | dict.fromkeys(
        [f"layer_{i:02d}" for i in range(5, 10)], 1
    ))  # fmt: skip
    queues = [fake_worker.trial_queue(fake_worker.open_location(location)) for _ in range(2)]
    waiting = queues[0].trials()[0]
    taken = [queue.claim_waiting(waiting) for queue in queues]
    assert (str(taken[0].run.layout), taken[0].run.seed, taken[1]) == ("10:5-9", 1000, None)
    assert study.trials[0].user_attrs["seed"] == 1000
