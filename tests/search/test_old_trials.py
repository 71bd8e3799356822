"""Old trials: studies of schema 2, with seed and fidelity as parameters, go on as if new."""

import subprocess
import sys
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import fake_worker
from autoprune.layouts.layout import Layout
from autoprune.search.dashboard import layer_importances
from autoprune.search.trial import (
    TrialRun,
    distributions,
    flag_params,
    run_of_trial,
)
from autoprune.storage.heartbeat import WorkerId

KEYS = ("worker", "claim", "beat")
SPACE = {"seed": IntDistribution(0, 2**32), "fidelity": FloatDistribution(0.0, 1.0)}


def old_form(trial, **changes):
    """Return a trial as schema 2 stored it: all that is known of it, in other places."""
    attributes = dict(trial.user_attrs)
    values = {name: attributes.pop(name) for name in ("seed", "fidelity") if name in attributes}
    system = dict(trial.system_attrs)
    attributes |= {key: system.pop(key) for key in KEYS if key in system}
    if trial.state == TrialState.COMPLETE:
        attributes["seed"] = values["seed"]
    parts = {
        "state": trial.state,
        "value": trial.value,
        "params": trial.params | values,
        "distributions": trial.distributions | {name: SPACE[name] for name in values},
        "user_attrs": attributes,
        "system_attrs": system,
        "intermediate_values": trial.intermediate_values,
    }
    return create_trial(**parts | changes)


def running(layout, seed, worker):
    return create_trial(
        state=TrialState.RUNNING,
        params=flag_params(layout),
        distributions=distributions(10),
        user_attrs={"origin": "search", "seed": seed, "fidelity": 1.0},
        system_attrs={"worker": worker.to_dict(), "claim": str(seed), "beat": 0},
    )


def load(location):
    storage = fake_worker.open_location(location)
    return optuna.load_study(study_name="fake", storage=storage)


def told(outcome):
    return [(one.run, one.origin, one.score.quality) for one in outcome.trial_results]


@pytest.fixture
def old(location, tmp_path):
    """Fill the study at `location` with seven trials of the old form; return it."""
    fake_worker.run_search(str(tmp_path / "new"), "gp", 7, 0)
    study = load(location)
    for trial in load(str(tmp_path / "new")).trials:
        study.add_trial(old_form(trial))
    mark = study.user_attrs["autoprune"]
    study.set_user_attr("autoprune", mark | {"schema": 2})
    assert "seed" in study.trials[0].params and "claim" in study.trials[0].user_attrs
    return study


def test_old_study_goes_on_as_a_new_one(old, location, tmp_path):
    mixed = fake_worker.run_search(location, "gp", 11, 0)
    assert told(mixed) == told(fake_worker.run_search(str(tmp_path / "new"), "gp", 11, 0))
    assert (mixed.trials, mixed.repeated) == (11, 0)
    trials = load(location).trials
    assert ["seed" in trial.params for trial in trials] == [True] * 7 + [False] * 4
    assert load(location).user_attrs["autoprune"]["schema"] == 3
    names = {f"layer {layer}" for layer in range(10)}
    assert set(layer_importances(fake_worker.open_location(location), "fake")) == names


def test_old_trial_of_a_dead_worker_is_repeated(old, location):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    here = WorkerId.of_this_process()
    dead = replace(here, id="other", pid=process.pid)
    run = TrialRun(Layout.parse("10:0,2,4,6,9"), 4711)
    old.add_trial(old_form(running(run.layout, run.seed, dead)))
    outcome = fake_worker.run_search(location, "gp", 8, 0)
    assert outcome.trial_results[7].run == run
    lost, again = load(location).trials[7:]
    assert lost.user_attrs["interrupted"].startswith(f"process {process.pid} on ")
    assert run_of_trial(again, 10) == run and "seed" not in again.params


def test_old_trial_of_a_living_worker_is_left_alone(old, location):
    worker = WorkerId.of_this_process()
    layout = Layout.parse("10:0,2,4,6,9")
    old.add_trial(old_form(running(layout, 4711, worker)))
    queue = fake_worker.trial_queue(fake_worker.open_location(location))
    with worker.active():
        claim = queue.claim_next()
    assert claim.run.layout != layout and claim.run.seed != 4711
    assert load(location).trials[7].state == TrialState.RUNNING


def test_old_request_keeps_its_seed(old, location):
    layout = Layout.parse("10:0,2,4,6,9")
    old.enqueue_trial(flag_params(layout) | {"seed": 5, "fidelity": 1.0})
    outcome = fake_worker.run_search(location, "gp", 8, 0)
    assert outcome.trial_results[7].run == TrialRun(layout, 5)
    assert load(location).trials[7].params == flag_params(layout)
