"""`kill -9` at 50 random moments: nothing is lost or made again, and the end is the same."""

import random
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import optuna
import pytest
from optuna.trial import TrialState

import fake_worker
from autoprune.search.trial import DIED, MAX_RETRIES, is_finished_trial, run_of_trial
from autoprune.storage.heartbeat import worker_of_trial
from autoprune.storage.storage import JOURNAL

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

KILLS = 50
TRIALS = 240
# A process that may write no more dies of the signal in the middle of its write.
PROGRAM = (
    "import fake_worker, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
    "print('begun', flush=True); fake_worker.run_search(*sys.argv[1:])"
)


def start(location, sampler, milliseconds):
    command = [sys.executable, "-c", PROGRAM, location, sampler, str(TRIALS), str(milliseconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trials(location):
    storage = fake_worker.open_location(location)
    return optuna.load_study(study_name="fake", storage=storage).trials


def finished(known):
    return {
        one.number: (run_of_trial(one, 10), one.value) for one in known if is_finished_trial(one)
    }


def may_be_killed(known):
    """Say whether no run is under way that was killed as often as it is offered again."""
    deaths = Counter(run_of_trial(trial, 10) for trial in known if DIED in trial.user_attrs)
    running = [trial for trial in known if trial.state == TrialState.RUNNING]
    return all(deaths[run_of_trial(trial, 10)] < MAX_RETRIES for trial in running)


def holds(victim, known):
    """Say whether a process has begun a trial."""
    workers = filter(None, map(worker_of_trial, known))
    return any(worker.pid == victim.pid for worker in workers)


def cut(victim, file, most):
    """Let a process die in the middle of its next write to `file`."""
    end = file.stat().st_size + most
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (end, end))
    with suppress(subprocess.TimeoutExpired):
        victim.wait(5)


@pytest.mark.parametrize(
    ("kind", "sampler", "processes", "milliseconds"),
    [("journal", "gp", 1, 60), ("sqlite", "gp", 1, 60), ("journal", "random", 3, 3000)],
)
def test_resume_after_fifty_kills_of_workers(
    kind, sampler, processes, milliseconds, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "study" / JOURNAL if kind == "journal" else tmp_path / "study.db"
    location = str(file.parent) if kind == "journal" else f"sqlite:///{file}"
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    fake_worker.create_study(location)
    draw, before, torn = random.Random(7), {}, 0
    workers = [start(location, sampler, milliseconds) for _ in range(processes)]
    for kill in range(KILLS):
        victim = draw.choice(workers)
        assert victim.stdout.readline() == "begun\n"
        while kill % 4 and not holds(victim, trials(location)):  # else in its start
            assert victim.poll() is None
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.5))
        while not may_be_killed(trials(location)):
            time.sleep(0.05)
        assert victim.poll() is None
        if kill % 3 == 0:
            cut(victim, file, draw.randint(1, 150))
            torn += kind == "journal" and not file.read_bytes().endswith(b"\n")
        victim.kill()
        victim.communicate()
        now = finished(trials(location))
        assert before.items() <= now.items()  # what was measured stays as it was
        before = now
        workers[workers.index(victim)] = start(location, sampler, milliseconds)
    told = [process.communicate(timeout=900) for process in workers]
    assert [err for _, err in told] == [""] * processes
    alone = fake_worker.run_search(str(tmp_path / "undisturbed"), sampler, TRIALS, 0)
    known = trials(location)
    made = [run for run, _ in finished(known).values()]
    assert len(made) == len(set(made)) == TRIALS
    assert {(run.layout, run.seed) for run in made} == {
        (finding.layout, finding.seed) for finding in alone.trial_results
    }
    died = sum(DIED in trial.user_attrs for trial in known)
    assert died > KILLS / 5  # the others fell between two trials, or in a start
    with capsys.disabled():
        sys.stdout.write(
            f"\n{kind}, {sampler}, {processes}: {KILLS} kills, {died} trials cut short, "
            f"{torn} in the middle of a line\n"
        )
