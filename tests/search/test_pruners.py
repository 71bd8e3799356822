import optuna
import pytest

from autoprune import choices
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.pruners import PRUNERS

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


def test_pruner_names_are_those_of_choices():
    assert tuple(PRUNERS) == choices.PRUNER_NAMES


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_pruner_stops_weak_runs_but_no_initial_layout(pruner, go):
    outcome = go(sampler="random", pruner=pruner, trials=40)
    states = [finding.state for finding in outcome.trial_results]
    assert states[:3] == ["complete"] * 3
    assert 8 <= states.count("pruned") <= 32
    assert (outcome.trials, outcome.repeated) == (40, 0)
    pruned = [finding for finding in outcome.trial_results if finding.state == "pruned"]
    assert {finding.score for finding in pruned} == {None}
    assert {finding.reason for finding in pruned} <= {"weak at step 10", "weak at step 20"}
    full = go(sampler="random", storage=optuna.storages.InMemoryStorage(), trials=40)
    qualities = {finding.layout: finding.score.quality for finding in full.trial_results}
    mean = sum(qualities.values()) / 40
    assert sum(qualities[finding.layout] for finding in pruned) / len(pruned) < mean


def test_pruner_none_prunes_nothing(go):
    assert {finding.state for finding in go(trials=20).trial_results} == {"complete"}


@pytest.mark.parametrize(
    ("others", "value", "stops"),
    [
        ([], 0.1, False),
        ([0.5], 0.4, True),
        ([0.5], 0.5, False),
        ([0.1, 0.2, 0.6], 0.3, False),
        ([0.1, 0.5, 0.6, 0.7], 0.3, True),
    ],
)
def test_halving_pruner_keeps_the_better_half(others, value, stops):
    study = optuna.create_study(direction="maximize", pruner=PRUNERS["halving"]())
    for other in others:
        trial = study.ask()
        trial.report(other, 10)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    trial = study.ask()
    assert not trial.should_prune()
    trial.report(value, 10)
    assert trial.should_prune() is stops


def test_history_of_a_pruned_run_adds_the_usual_gain(go, tmp_path):
    """The surrogate sees a pruned run at its last check plus the usual gain from there."""
    from autoprune.search.history import read_history
    from autoprune.storage.storage import open_storage

    go(sampler="random", pruner="halving", trials=25)
    storage = open_storage(None, tmp_path / "study")
    trials = optuna.load_study(study_name="shc", storage=storage).trials
    states = optuna.trial.TrialState
    complete = [trial for trial in trials if trial.state == states.COMPLETE]
    pruned = next(trial for trial in trials if trial.state == states.PRUNED)
    step = pruned.last_step
    gain = sum(end.value - end.intermediate_values[step] for end in complete) / len(complete)
    observed = read_history(trials, 8, 4).observations
    assert len(observed) == 25
    assert observed[pruned.number].quality == pytest.approx(pruned.value + gain)
