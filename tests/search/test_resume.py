import re
import subprocess
import sys

import optuna
import pytest

import fake_worker
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.sampler import SAMPLERS
from autoprune.storage.storage import JOURNAL, open_storage

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_resume_after_an_interrupt_inside_a_trial(sampler, go, planted, told):
    undisturbed = go(sampler=sampler, storage=optuna.storages.InMemoryStorage())
    for number, finding in enumerate(undisturbed.trial_results):
        measure = planted(0, 8, 4, {(finding.layout, 10 * (number % 3)): interrupt})
        outcome = go(measure, sampler=sampler)
        assert outcome.interrupted
        assert told(outcome) == told(undisturbed)[:number]
    outcome = go(sampler=sampler)
    assert not outcome.interrupted
    assert told(outcome) == told(undisturbed)
    assert (outcome.found, outcome.repeated) == (undisturbed.found, 0)


def test_resume_runs_interrupted_layouts_first(go, planted):
    undisturbed = go(sampler="random", storage=optuna.storages.InMemoryStorage(), trials=6)
    cut = undisturbed.trial_results[4].layout
    go(planted(0, 8, 4, {(cut, 20): interrupt}), sampler="random")
    outcome = go(sampler="brute-force", trials=6)
    assert outcome.trial_results[:5] == undisturbed.trial_results[:5]
    assert outcome.trial_results[5].layout != undisturbed.trial_results[5].layout


def test_resume_after_an_interrupt_between_trials(go, told):
    undisturbed = go(storage=optuna.storages.InMemoryStorage())
    for number in range(1, 9):
        outcome = go(callback=lambda finding: interrupt())
        assert outcome.interrupted
        assert told(outcome) == told(undisturbed)[:number]
    assert told(go()) == told(undisturbed)


def test_interrupt_before_any_score_finds_nothing(go, planted):
    outcome = go(planted(0, 8, 4, {(FIRST["top"], 20): interrupt}))
    assert (outcome.found, outcome.mean, outcome.std, outcome.trial_results) == (
        None,
        None,
        None,
        (),
    )


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_pruners_ignore_interrupted_trials(pruner, go, planted, told):
    settings = {"pruner": pruner, "sampler": "random", "trials": 20}
    undisturbed = go(storage=optuna.storages.InMemoryStorage(), **settings)
    layouts = [
        finding.layout for finding in undisturbed.trial_results if finding.state == "complete"
    ]
    for layout in layouts:
        go(planted(0, 8, 4, {(layout, 20): interrupt}), **settings)
    assert told(go(**settings)) == told(undisturbed)


@pytest.mark.parametrize(("torn", "every"), [(0, 1), (9, 6)])
def test_resume_after_a_kill_at_any_write(torn, every, go, told, tmp_path):
    """The journal cut after each of its lines, and within the next one, is gone on with."""
    settings = {"sampler": "random", "trials": 5, "initial_layouts": {"top": FIRST["top"]}}
    undisturbed = told(go(**settings))
    journal = tmp_path / "study" / JOURNAL
    content = journal.read_bytes()
    ends = [match.end() for match in re.finditer(rb"\n", content)]
    assert len(ends) > 60
    for end in ends[::every]:
        journal.write_bytes(content[: end + torn])
        assert told(go(**settings)) == undisturbed


def test_resume_after_kill_9(tmp_path):
    def run(folder, *moment):
        command = [sys.executable, fake_worker.__file__, tmp_path / folder, "gp", "9", "0", *moment]
        return subprocess.run(command, capture_output=True, text=True)

    whole = run("whole")
    assert (whole.returncode, whole.stderr, len(whole.stdout.splitlines())) == (0, "", 9)
    assert run("cut", "13").returncode == -9
    rest = run("cut")
    assert (rest.stdout, rest.stderr) == (whole.stdout, "")
    study = optuna.load_study(study_name="fake", storage=open_storage(None, tmp_path / "cut"))
    states = [trial.state.name for trial in study.trials]
    assert (states.count("FAIL"), states.count("COMPLETE"), len(states)) == (1, 9, 10)
    assert sum("interrupted" in trial.user_attrs for trial in study.trials) == 1
