"""What is read and written by rows is what Optuna's own storage reads and writes."""

import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import inf, nan

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

import fake_worker
from autoprune.layouts.layout import Layout
from autoprune.search.trial import (
    TrialRun,
    close_trial,
    distributions,
    flag_params,
    requeue_trial,
    run_of_trial,
    set_trial_attributes,
    trial_attributes,
)
from autoprune.storage import rdb as module

RUN = TrialRun(Layout.parse("10:0-4"), 4294967295, 0.3)
TOLD = {
    "validation": "61.0 %",
    "loss": 1.25,
    "note": 'क "ख" \\ \'',
    "worker": {"pid": 7},
    "died": True,
}
FIELDS = (
    *("number", "state", "values", "datetime_start", "datetime_complete", "params"),
    *("distributions", "user_attrs", "system_attrs", "intermediate_values", "_trial_id"),
)


@pytest.fixture
def storage(location):
    return fake_worker.open_location(location)


@pytest.fixture
def study(storage):
    return storage.get_study_id_from_name("fake")


@pytest.fixture
def optunas(storage):
    """Return Optuna's own storage of the same database."""
    return RDBStorage(storage.database.url)


with_tables = pytest.mark.parametrize("location", ["sqlite", "postgresql"], indirect=True)


def template(**fields):
    return create_trial(
        **{
            "state": TrialState.RUNNING,
            "params": flag_params(RUN.layout),
            "distributions": distributions(10),
            "user_attrs": trial_attributes(RUN, "top"),
            "system_attrs": {"claim": "c"},
            **fields,
        }
    )


def shown(trial):
    """Return all fields of a trial in words, so that nan is nan; the order of keys is free."""
    fields = {name: getattr(trial, name) for name in FIELDS}
    return {
        name: repr(sorted(value.items()) if isinstance(value, dict) else value)
        for name, value in fields.items()
    }


def both(trials):
    return [shown(trial) for trial in sorted(trials, key=lambda one: one.number)]


@contextmanager
def before_insert(storage, table, act):
    """Act once, before the first insert into `table`."""
    due = [act]

    def listen(_, __, statement, *___):
        if statement.startswith(f"INSERT INTO {table} ") and due:
            due.pop()()

    event.listen(storage.database.engine, "before_cursor_execute", listen)
    yield
    event.remove(storage.database.engine, "before_cursor_execute", listen)
    assert not due


@contextmanager
def waits_until_commit(storage, table, call):
    """Call in a thread before the first insert into `table`; yield the list of its results."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))

    def between():
        thread.start()
        thread.join(0.5)
        assert not results

    with before_insert(storage, table, between):
        yield results
    thread.join(30)
    assert results


def fill(storage, study):
    """Make trials of every kind, by Optuna and by us; return their ids."""
    known = optuna.load_study(study_name="fake", storage=storage._inner)
    known.enqueue_trial({"layer_00": 1, "seed": 3}, user_attrs={"asked": "by hand"})
    known.enqueue_trial({"layer_00": [1]})
    ids = [trial._trial_id for trial in known.get_trials()]
    for value in (0.5, inf, -inf, None):
        ids.append(storage.create_new_trial(study, template()))
        for step, quality in enumerate((0.25, nan, inf, -inf)):
            storage.set_trial_intermediate_value(ids[-1], step, quality)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        close_trial(storage, ids[-1], TOLD, state, value)
    ids.append(storage._inner.create_new_trial(study))
    ids.append(storage.create_new_trial(study, template(system_attrs={"fixed_params": {"a": 1}})))
    ids.append(storage.create_new_trial(study, template(state=TrialState.COMPLETE, value=0.25)))
    ids.append(storage.create_new_trial(study, template(intermediate_values={1: 0.5})))
    return ids


@with_tables
@pytest.mark.parametrize("together", [3, 500])
def test_read_trials_equals_optuna(storage, study, optunas, together, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", together)
    ids, ours = fill(storage, study), storage.database
    assert both(ours.get_all_trials(study)) == both(optunas.get_all_trials(study))
    assert both(storage.get_all_trials(study)) == both(optunas.get_all_trials(study))
    for states in [(TrialState.RUNNING,), (TrialState.WAITING, TrialState.FAIL), ()]:
        theirs = both(optunas.get_all_trials(study, states=states))
        assert both(ours.get_all_trials(study, states=states)) == theirs
    for some, above in [(set(), ids[3]), (set(ids[:6]), ids[7]), (set(ids), -1), ({9**9}, ids[-1])]:
        theirs = both(optunas._get_trials(study, None, some, above))
        assert both(ours._get_trials(study, None, some, above)) == theirs


@with_tables
def test_read_trials_of_one_study_only(storage, study):
    mine = fill(storage, study)
    other = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "other")
    theirs = storage.create_new_trial(other, template())
    (trial,) = storage.get_all_trials(other)
    assert (trial._trial_id, trial.number) == (theirs, 0)
    assert {one._trial_id for one in storage.get_all_trials(study)} == set(mine)


@with_tables
@pytest.mark.parametrize("call", ["get_all_trials", "create_new_trial"])
def test_missing_study_raises_as_optuna_does(storage, optunas, call):
    given = (template(),) if call == "create_new_trial" else ()
    for one in (storage.database, optunas):
        with pytest.raises(KeyError, match="Record does not exist"):
            getattr(one, call)(99, *given)


def test_insert_trial_equals_optuna(storage, study):
    ours = storage.create_new_trial(study, template())
    set_trial_attributes(storage, ours, TOLD)
    theirs = storage._inner.create_new_trial(study, template())
    for key, value in TOLD.items():
        storage._inner.set_trial_user_attr(theirs, key, value)
    one, other = storage.get_trial(ours), storage.get_trial(theirs)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "state", "values"):
        assert getattr(one, name) == getattr(other, name)
    assert run_of_trial(one, 10) == RUN
    (trial, _) = optuna.load_study(study_name="fake", storage=storage).trials
    assert trial.params == flag_params(RUN.layout)


@pytest.fixture(params=["UTC", "Asia/Kolkata"])
def zone(request, monkeypatch):
    """Tables hold times in UTC, trials have the local ones."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@with_tables
def test_insert_trial_returns_what_is_stored(storage, study, optunas, zone):
    for number in range(3):
        given = template(system_attrs={"asked": [1, {"a": "b"}]})
        made = storage.database._create_new_trial(study, given)
        assert made.number == number
        assert shown(made) == shown(optunas.get_trial(made._trial_id))
        assert given.number == -1  # a template is not changed


def test_set_trial_attributes_replaces_earlier_ones(storage, study):
    trial = storage.create_new_trial(study, template())
    set_trial_attributes(storage, trial, {"origin": "search", "loss": 2.0})
    set_trial_attributes(storage, trial, {"loss": 1.0})
    expected = {**trial_attributes(RUN, "search"), "loss": 1.0}
    assert storage.get_trial(trial).user_attrs == expected


def test_closed_trial_is_not_changed(storage, study):
    trial = storage.create_new_trial(study, template())
    close_trial(storage, trial, {"loss": 2.0}, TrialState.COMPLETE, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        set_trial_attributes(storage, trial, TOLD)
    close_trial(storage, trial, TOLD, TrialState.FAIL)  # as a worker that was thought dead
    close_trial(storage, trial, TOLD, TrialState.COMPLETE, 1.0)
    done = storage.get_trial(trial)
    assert done.user_attrs == {**trial_attributes(RUN, "top"), "loss": 2.0}
    assert (done.state, done.value) == (TrialState.COMPLETE, 0.5)
    assert done.datetime_start <= done.datetime_complete


@with_tables
def test_set_trial_attributes_locks_the_trial(storage, location, study):
    trial = storage.create_new_trial(study, template())

    def stop():
        requeue_trial(fake_worker.open_location(location), trial)

    with waits_until_commit(storage, "trial_user_attributes", stop):
        set_trial_attributes(storage, trial, {"loss": 1.0})
    done = storage.get_trial(trial)
    assert (done.user_attrs["loss"], done.state) == (1.0, TrialState.FAIL)


@with_tables
def test_close_trial_stores_the_local_time(storage, study, optunas, zone):
    trial = storage.create_new_trial(study, template())
    close_trial(storage, trial, TOLD, TrialState.COMPLETE, 0.5)
    done = optunas.get_trial(trial)
    assert abs(done.datetime_complete - datetime.now()) < timedelta(minutes=1)
    assert shown(storage.get_all_trials(study)[0]) == shown(done)


def test_close_trial_stores_intermediate_values(storage, study):
    trial = storage.create_new_trial(study, template())
    values = {1: 0.25, 2: nan, 3: inf, 4: -inf}
    close_trial(storage, trial, TOLD, TrialState.COMPLETE, 0.5, values)
    assert repr(storage.get_trial(trial).intermediate_values) == repr(values)


@with_tables
def test_close_trial_of_intermediate_values_takes_one_statement_more(storage, study):
    statements = []
    listen = lambda *given: statements.append(given[2])  # noqa: E731
    event.listen(storage.database.engine, "before_cursor_execute", listen)
    counts = []
    for values in ({}, dict.fromkeys(range(9), 0.5)):
        trial = storage.create_new_trial(study, template())
        statements.clear()
        close_trial(storage, trial, TOLD, TrialState.COMPLETE, 0.5, values)
        counts.append(len(statements))
    event.remove(storage.database.engine, "before_cursor_execute", listen)
    assert counts == [4, 5]


@with_tables
def test_insert_trial_at_once_gives_different_numbers(storage, location, study):
    def begin():
        return fake_worker.open_location(location).create_new_trial(study, template())

    with waits_until_commit(storage, "trial_params", begin) as later:
        first = storage.create_new_trial(study, template())
    numbers = {trial._trial_id: trial.number for trial in storage.get_all_trials(study)}
    assert numbers == {first: 0, later[0]: 1}


@with_tables
@pytest.mark.parametrize(
    "write", [set_trial_attributes, lambda *told: close_trial(*told, TrialState.COMPLETE, 0.5)]
)
def test_writes_are_all_or_nothing(storage, study, write):
    trial = storage.create_new_trial(study, template())
    with pytest.raises(TypeError):
        write(storage, trial, {"loss": 1.0, "worker": object()})
    here = storage.get_trial(trial)
    assert ("loss" in here.user_attrs, here.state) == (False, TrialState.RUNNING)


def die():
    raise SystemExit


@with_tables
@pytest.mark.parametrize(
    "table", ["trials", "trial_params", "trial_user_attributes", "trial_system_attributes"]
)
def test_interrupted_claim_leaves_nothing(storage, study, table):
    with before_insert(storage, table, die), pytest.raises(SystemExit):
        fake_worker.trial_queue(storage).claim(RUN, "top")
    assert storage.get_all_trials(study) == []
    assert fake_worker.trial_queue(storage).claim(RUN, "top").run == RUN


@with_tables
def test_close_trial_of_a_closed_trial_raises(storage, study):
    trial = storage.create_new_trial(study, template())
    storage.database.close_trial(trial, TOLD, TrialState.FAIL, None, {})
    with pytest.raises(UpdateFinishedTrialError):
        storage.database.close_trial(trial, TOLD, TrialState.COMPLETE, 0.5, {})


@with_tables
@pytest.mark.parametrize(
    "table", ["trial_values", "trial_user_attributes", "trial_intermediate_values"]
)
def test_interrupted_close_trial_changes_nothing(storage, study, optunas, table):
    trial = storage.create_new_trial(study, template())
    before = shown(optunas.get_trial(trial))
    with before_insert(storage, table, die), pytest.raises(SystemExit):
        close_trial(storage, trial, TOLD, TrialState.COMPLETE, 0.5, {1: 0.25})
    assert shown(optunas.get_trial(trial)) == before


@with_tables
def test_claim_with_a_lost_answer_is_made_once(storage, study, monkeypatch):
    write, lost = storage.database.insert_trial, []

    def forgetful(*given):
        made = write(*given)
        if not lost:
            lost.append(made)
            raise OperationalError("", {}, Exception("server closed the connection"))
        return made

    monkeypatch.setattr(storage.database, "insert_trial", forgetful)
    claim = fake_worker.trial_queue(storage).claim(RUN, "top")
    assert [one._trial_id for one in lost] == [claim.trial_id]
    assert len(storage.get_all_trials(study)) == 1
