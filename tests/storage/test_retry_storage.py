"""A storage that cannot be reached for a while: calls are made again, and nothing is made twice."""

import subprocess
import sys
import time
from collections import Counter

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import OperationalError

import fake_worker
from autoprune import processes
from autoprune.errors import StorageError
from autoprune.search.trial import is_finished_trial, run_of_trial
from autoprune.storage.heartbeat import CLAIM
from autoprune.storage.retry import RetryStorage
from autoprune.storage.storage import open_storage

RUNS = 60


def lost(text="connection to server was lost"):
    return OperationalError("select 1", {}, Exception(text))


class Flaky(InMemoryStorage):
    """Makes each write and then loses its answer, so many times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def _lose(self):
        if self.times:
            self.times -= 1
            raise lost()

    def create_new_trial(self, study_id, template_trial=None):
        made = super().create_new_trial(study_id, template_trial)
        self._lose()
        return made

    def set_trial_state_values(self, trial_id, state, values=None):
        written = super().set_trial_state_values(trial_id, state, values)
        self._lose()
        return written


class Away(InMemoryStorage):
    """Cannot be reached."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.calls = 0

    def get_all_studies(self):
        self.calls += 1
        raise self.error


def template(mark):
    return create_trial(state=TrialState.RUNNING, system_attrs={CLAIM: mark})


def test_retry_of_create_new_trial_makes_no_second_trial():
    storage = RetryStorage(Flaky(times=3), (0, 0, 0), "x")
    study = optuna.create_study(storage=storage)._study_id
    first = storage.create_new_trial(study, template("a"))
    assert storage.create_new_trial(study, template("b")) != first
    assert [trial.system_attrs[CLAIM] for trial in storage.get_all_trials(study)] == ["a", "b"]


def test_retry_of_set_trial_state_values_is_no_error():
    inner = Flaky(times=0)
    storage = RetryStorage(inner, (0, 0), "x")
    study = optuna.create_study(storage=storage)._study_id
    trial = storage.create_new_trial(study, template("a"))
    inner.times = 1
    assert storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.6])
    assert storage.get_trial(trial).value == 0.5


def test_retry_error_names_the_time_without_password():
    away, url = Away(lost("connection refused for secret")), "postgresql+psycopg://ann:secret@db/x"
    patient = RetryStorage(away, (0.01, 0.01), "postgresql+psycopg://ann:***@db/x", url=url)
    with pytest.raises(StorageError, match=r"could not be reached for 0 seconds") as error:
        patient.get_all_studies()
    assert away.calls == 3
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        lost('connection to server failed: FATAL: password authentication failed for user "ann"'),
        OperationalError("insert", {}, Exception("disk is full")),
        OSError(28, "No space left on device"),
    ],
)
def test_retry_raises_permanent_failures_at_once(error):
    away = Away(error)
    with pytest.raises(type(error)):
        RetryStorage(away, (60,), "x").get_all_studies()
    assert away.calls == 1


def test_retry_stops_when_a_stop_is_requested():
    processes.request_stop()
    try:
        with pytest.raises(KeyboardInterrupt):
            RetryStorage(Away(lost()), (600,), "x").get_all_studies()
    finally:
        processes.clear_stop()


@pytest.mark.slow
def test_retry_survives_restarts_of_postgresql(postgresql, postgresql_server):
    storage = open_storage(postgresql, None)
    if "fake" in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name="fake", storage=storage)
    fake_worker.create_study(postgresql)
    command = [sys.executable, fake_worker.__file__, postgresql, "random", str(RUNS), "100"]
    pipe = subprocess.PIPE
    begun = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    study = optuna.load_study(study_name="fake", storage=storage)
    restarts = 0
    for done in (3, 15, 30):
        while sum(map(is_finished_trial, study.get_trials(deepcopy=False))) < done:
            time.sleep(0.05)
        postgresql_server.stop()
        time.sleep(0.5)
        postgresql_server.start()
        restarts += 1
    told = [process.communicate(timeout=120) for process in begun]
    assert [(process.returncode, err) for process, (_, err) in zip(begun, told, strict=True)] == [
        (0, "")
    ] * 4
    made = Counter(
        run_of_trial(t, fake_worker.SETTINGS["depth"]) for t in study.trials if is_finished_trial(t)
    )
    assert restarts == 3
    assert (len(made), made.total()) == (RUNS, RUNS)
