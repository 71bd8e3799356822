"""Much of a trial written at once reads as if Optuna's setters had written it one by one."""

import threading

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import OperationalError

import fake_worker
from autoprune.layouts.layout import Layout
from autoprune.search.marks import distributions, params, run_of_trial
from autoprune.search.patient import tell
from autoprune.search.queue import next_claim
from autoprune.search.run import Run
from autoprune.search.storage import open_storage

RUN = Run(Layout.parse("10:0-4"), 4294967295, 0.3)
TOLD = {
    "validation": "61.0 %",
    "loss": 1.25,
    "note": 'क "ख" \\ \'',
    "worker": {"pid": 7},
    "died": True,
}


@pytest.fixture
def storage(place):
    return open_storage(*fake_worker.place_of(place))


@pytest.fixture
def study(storage):
    return storage.get_study_id_from_name("fake")


with_tables = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def template():
    return create_trial(
        state=TrialState.RUNNING,
        params=params(RUN),
        distributions=distributions(10),
        user_attrs={"claim": "c", "origin": "top"},
    )


def test_a_trial_reads_as_optuna_writes_it(storage, study):
    ours = storage.create_new_trial(study, template())
    tell(storage, ours, TOLD)
    theirs = storage._inner.create_new_trial(study, template())
    for key, value in TOLD.items():
        storage._inner.set_trial_user_attr(theirs, key, value)
    one, other = storage.get_trial(ours), storage.get_trial(theirs)
    for name in ("params", "distributions", "user_attrs", "state", "values"):
        assert getattr(one, name) == getattr(other, name)
    assert run_of_trial(one, 10) == RUN
    assert optuna.load_study(study_name="fake", storage=storage).trials[0].params == params(RUN)


def test_attributes_replace_earlier_ones(storage, study):
    trial = storage.create_new_trial(study, template())
    tell(storage, trial, {"origin": "search", "loss": 2.0})
    tell(storage, trial, {"loss": 1.0})
    assert storage.get_trial(trial).user_attrs == {"claim": "c", "origin": "search", "loss": 1.0}


def test_a_trial_that_has_ended_hears_nothing(storage, study):
    trial = storage.create_new_trial(study, template())
    storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
    with pytest.raises(UpdateFinishedTrialError):
        tell(storage, trial, TOLD)
    assert storage.get_trial(trial).user_attrs == {"claim": "c", "origin": "top"}


@with_tables
def test_nobody_ends_a_trial_while_it_is_written_to(storage, place, study):
    trial = storage.create_new_trial(study, template())
    ended = []

    def end():
        other = open_storage(*fake_worker.place_of(place))
        other.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
        ended.append(trial)

    thread = threading.Thread(target=end)

    class Slow(list):
        """Rows that are read between the look at the trial and the write."""

        def __iter__(self):
            thread.start()
            thread.join(0.5)
            assert not ended
            return super().__iter__()

    row = {"key": "loss", "value_json": "1.0"}
    storage._rows._write(trial, storage._rows._attributes, Slow([row]))
    thread.join(30)
    assert ended
    done = storage.get_trial(trial)
    assert (done.user_attrs["loss"], done.state) == (1.0, TrialState.COMPLETE)


@with_tables
def test_all_attributes_are_written_or_none(storage, study):
    trial = storage.create_new_trial(study, template())
    with pytest.raises(TypeError):
        tell(storage, trial, {"loss": 1.0, "worker": object()})
    assert "loss" not in storage.get_trial(trial).user_attrs


@with_tables
def test_a_claim_cut_off_between_its_two_writes_is_made_again(storage, study, monkeypatch):
    def die(*_):
        raise SystemExit

    with monkeypatch.context() as cut:
        cut.setattr(storage._rows, "params", die)
        with pytest.raises(SystemExit):
            fake_worker.desk(storage).claim(Run(RUN.layout, 5, 1.0), "top")
    (trial,) = storage.get_all_trials(study)
    assert not trial.params
    assert run_of_trial(trial, 10) == Run(RUN.layout, 5, 1.0)  # others see what it is
    again = next_claim(fake_worker.desk(storage), 9, {})
    assert (again.run, again.origin) == (Run(RUN.layout, 5, 1.0), "top")
    assert storage.get_trial(again.trial).params == params(again.run)


@with_tables
def test_an_answer_that_was_lost_changes_nothing(storage, study, monkeypatch):
    write, lost = storage._rows.params, []

    def forgetful(trial, given):
        write(trial, given)
        if not lost:
            lost.append(trial)
            raise OperationalError("", {}, Exception("server closed the connection"))

    monkeypatch.setattr(storage._rows, "params", forgetful)
    trial = storage.create_new_trial(study, template())
    assert lost == [trial]
    assert storage.get_trial(trial).params == params(RUN)
