import dataclasses
import gc
import re
import warnings
import weakref

import numpy as np
import optuna
import pytest

from autoprune.errors import LayoutError, OptionError, StudyError, TrialError, UnknownNameError
from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.history import read_history
from autoprune.search.result import TrialResult, search_result
from autoprune.search.search_space import draw_flags, flags_to_layout
from autoprune.search.settings import SearchSettings
from autoprune.search.study import finished_trials, optimize_study
from autoprune.search.trial import TrialRun, flag_params, seed_attributes
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


def fail(error):
    def hook():
        raise error

    return hook


@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql"])
def test_optimize_study_is_the_same_in_every_storage_and_after_resume(
    kind, postgresql, go, told, tmp_path
):
    location = {
        "journal": None,
        "sqlite": f"sqlite:///{tmp_path / 'study.db'}",
        "postgresql": postgresql,
    }[kind]
    undisturbed = go(storage=optuna.storages.InMemoryStorage())
    go(storage=open_storage(location, tmp_path), trials=6)
    outcome = go(storage=open_storage(location, tmp_path))
    assert told(outcome) == told(undisturbed)
    assert (outcome.found, outcome.mean) == (undisturbed.found, undisturbed.mean)
    again = open_storage(location, tmp_path)
    assert finished_trials(again, "shc", 8) == outcome.trial_results
    assert finished_trials(again, "another", 8) == ()


def test_initial_layouts_run_first_and_trials_is_the_total(go):
    seen = []
    same = {"top": FIRST["top"], "also top": FIRST["top"], "bottom": FIRST["bottom"]}
    assert [finding.origin for finding in go(trials=1, initial_layouts=same).trial_results] == [
        "top"
    ]
    outcome = go(trials=5, initial_layouts=same, callback=seen.append)
    origins = [finding.origin for finding in outcome.trial_results]
    assert origins == ["top", "bottom", "search", "search", "search"]
    assert tuple(seen) == outcome.trial_results[1:]
    assert [finding.number for finding in outcome.trial_results] == [1, 2, 3, 4, 5]
    assert (outcome.trials, outcome.distinct_layouts, outcome.repeated) == (5, 5, 0)
    assert (
        go(trials=3, initial_layouts=same, callback=seen.append).trial_results
        == outcome.trial_results
    )
    assert len(seen) == 4


def test_search_result_counts_repeated_runs(go):
    outcome = go(trials=3)
    twice = dataclasses.replace(
        outcome, trial_results=outcome.trial_results + outcome.trial_results[:2]
    )
    assert (twice.trials, twice.distinct_layouts, twice.repeated) == (5, 3, 2)


def test_trial_result_best_is_the_highest_quality_so_far(go):
    outcome = go()
    qualities = [finding.score.quality for finding in outcome.trial_results]
    assert [finding.best for finding in outcome.trial_results] == list(
        np.maximum.accumulate(qualities)
    )
    assert len(set(qualities)) == 9


def test_trials_are_readable_by_optuna(go, tmp_path):
    go(trials=4)
    study = optuna.load_study(study_name="shc", storage=open_storage(None, tmp_path / "study"))
    assert study.metric_names == ["validation quality"]
    trial = study.trials[0]
    assert trial.params == flag_params(FIRST["top"])
    assert (trial.user_attrs["seed"], trial.user_attrs["fidelity"]) == (1000, 1.0)
    assert trial.user_attrs["layout"] == "8:0-3"
    assert trial.user_attrs["picture"] == "●●●●○○○○"
    assert {"accuracy", "macro_f1", "loss", "seconds", "seed"} <= set(trial.user_attrs)
    assert sorted(trial.intermediate_values) == [10, 20, 30]
    assert len(optuna.importance.get_param_importances(study)) == 8


def test_optimize_study_ends_when_no_layout_is_left(planted):
    outcome = optimize_study(
        planted(0, 4, 2),
        SearchSettings(depth=4, keep=2, trials=50, sampler="random"),
        optuna.storages.InMemoryStorage(),
        "small",
        {},
    )
    assert {finding.layout for finding in outcome.trial_results} == set(all_layouts(4, 2))
    assert (outcome.trials, outcome.repeated) == (count_layouts(4, 2), 0)
    best = max(outcome.trial_results, key=lambda finding: finding.score.quality)
    assert outcome.found == best.layout


def draw_runs(seed, noise):
    """Return some 60 layouts, their worth, and noisy scores in [0, 1]."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=12)
    layouts = [flags_to_layout(row) for row in np.unique(draw_flags(12, 6, 60, rng), axis=0)]
    worth = np.array([weights[list(layout.keep)].sum() for layout in layouts])
    noisy = worth + rng.normal(scale=noise * worth.std(), size=len(worth))
    return layouts, worth, (noisy - noisy.min()) / np.ptp(noisy)


def find(layouts, scores, losses):
    """Return the index of the layout that a search with these runs finds."""
    results = []
    for i, (layout, quality, loss) in enumerate(zip(layouts, scores, losses, strict=True)):
        score = Score(float(quality), 0.0, 0.0, float(loss), "validation", 0, 1.0)
        results.append(TrialResult(i, layout, "search", "complete", score, "", None, i, 1.0))
    return layouts.index(search_result(tuple(results), False).found)


def test_search_result_is_better_than_the_luckiest_run():
    """Of 60 noisy runs the surrogate's choice loses far less than the highest score does."""

    def lost(seed):
        layouts, worth, scores = draw_runs(seed, 1)
        chosen = find(layouts, scores, np.full(len(worth), 0.5))
        return worth.max() - worth[chosen], worth.max() - worth[int(scores.argmax())]

    found, luckiest = np.mean([lost(seed) for seed in range(20)], axis=0)
    assert 0 < found < luckiest * 2 / 3


def test_search_result_uses_the_loss():
    """Where qualities are mostly noise and losses are none, the use of both chooses better."""

    def lost(seed, with_loss):
        layouts, worth, scores = draw_runs(seed, 2)
        losses = worth.max() - worth if with_loss else np.zeros(len(worth))
        return (worth.max() - worth[find(layouts, scores, losses)]) / worth.std()

    both, quality = (np.mean([lost(seed, use) for seed in range(24)]) for use in (True, False))
    assert both < quality - 0.25  # with a prior of little noise: 0.11


def test_history_contains_the_loss(go, tmp_path):
    outcome = go(trials=6, sampler="random")
    storage = open_storage(None, tmp_path / "study")
    study = optuna.load_study(study_name="shc", storage=storage)
    seen = read_history(study.trials, 8, 4).observations
    assert [one.loss for one in seen] == [finding.score.loss for finding in outcome.trial_results]


def test_search_result_has_the_expected_quality(go):
    outcome = go(trials=40, sampler="random")
    qualities = {finding.layout: finding.score.quality for finding in outcome.trial_results}
    assert outcome.mean == pytest.approx(qualities[outcome.found], abs=4 * outcome.std)
    assert 0 < outcome.std < 0.1


def test_failed_trial_counts_and_is_not_repeated(go, planted):
    error = TrialError("the loss became NaN at step 12")
    whole = planted(0, 8, 4, {(FIRST["middle"], 10): fail(error)})
    outcome = go(whole, trials=20)
    failed = outcome.trial_results[1]
    assert (failed.state, failed.reason, failed.score) == ("failed", str(error), None)
    assert (failed.layout, failed.best) == (FIRST["middle"], outcome.trial_results[0].best)
    assert (outcome.trials, outcome.repeated) == (20, 0)
    assert outcome.found != FIRST["middle"]


def test_search_without_any_score_raises(go, planted):
    hooks = {(layout, 0): fail(TrialError("too hot")) for layout in FIRST.values()}
    with pytest.raises(StudyError, match=r"none of the 3 candidates of study shc .* too hot"):
        go(planted(0, 8, 4, hooks), trials=3)


def test_other_errors_of_the_objective_are_raised(go, planted, told):
    hooks = {(FIRST["middle"], 20): fail(FileNotFoundError("model.safetensors"))}
    with pytest.raises(FileNotFoundError, match="model"):
        go(planted(0, 8, 4, hooks))
    assert told(go()) == told(go(storage=optuna.storages.InMemoryStorage()))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"trials": 0}, OptionError, "trials must be at least 1, got 0"),
        ({"timeout": 0}, OptionError, "timeout must be above 0 seconds, got 0"),
        ({"keep": 8}, LayoutError, "keep must be 1 to 7"),
        ({"sampler": "tpa"}, UnknownNameError, "unknown sampler 'tpa', did you mean 'tpe'?"),
        ({"pruner": "medium"}, UnknownNameError, "unknown pruner 'medium', did you mean 'median'?"),
    ],
)
def test_search_settings_refuse_invalid_values(changes, error, words):
    with pytest.raises(error, match=re.escape(words)):
        SearchSettings(**{"depth": 8, "keep": 4, "trials": 3, **changes})


def requested(run):
    return flag_params(run.layout) | seed_attributes(run)


def test_enqueued_trials_run_if_they_are_valid(go, tmp_path):
    go(trials=4)
    storage = open_storage(None, tmp_path / "study")
    study = optuna.load_study(study_name="shc", storage=storage)
    wanted = Layout.parse("8:1,3,5,7")
    study.enqueue_trial({**flag_params(wanted), "layer_00": 1})  # one too many
    study.enqueue_trial({**flag_params(wanted), "layer_00": 5})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of a list
        study.enqueue_trial({**flag_params(wanted), "layer_00": [0]})
    for wrong in ({"seed": "x"}, {"seed": -1}, {"seed": 2**40}, {"fidelity": "much"}):
        study.enqueue_trial(flag_params(wanted) | {"seed": 5, "fidelity": 1.0} | wrong)
    study.enqueue_trial(flag_params(wanted) | {"seed": None, "fidelity": float("nan")})
    study.enqueue_trial(requested(TrialRun(FIRST["top"], 1000)))  # measured before
    study.enqueue_trial(requested(TrialRun(wanted, 7, 0.5)))  # nothing here runs half as long
    study.enqueue_trial(flag_params(wanted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = go(trials=7)
    assert (outcome.trials, outcome.repeated) == (7, 0)
    assert outcome.trial_results[4].layout == wanted
    assert {finding.fidelity for finding in outcome.trial_results} == {1.0}
    refused = [trial.user_attrs.get("refused", "") for trial in study.get_trials()]
    assert [why for why in refused if why.endswith("has fidelity 1.0, not 0.5")] != []
    assert len([why for why in refused if why.startswith("a seed is a whole number from")]) == 4
    assert len([why for why in refused if why.startswith("a fidelity is a share of")]) == 1
    assert {len(finding.layout.keep) for finding in outcome.trial_results} == {4}


@pytest.mark.parametrize("as_attribute", [False, True])
def test_enqueued_trial_has_the_seed_that_it_names(as_attribute, go, tmp_path):
    go(trials=4)
    study = optuna.load_study(study_name="shc", storage=open_storage(None, tmp_path / "study"))
    wanted = Layout.parse("8:1,3,5,7")
    for _ in range(2):
        if as_attribute:
            study.enqueue_trial(flag_params(wanted), user_attrs={"seed": 3})
        else:
            study.enqueue_trial(flag_params(wanted) | {"seed": 3})
    outcome = go(trials=6)
    runs = [one.run for one in outcome.trial_results[4:]]
    assert (runs[0], outcome.repeated) == (TrialRun(wanted, 3), 0)
    trial = study.trials[4]
    assert trial.params == flag_params(wanted)
    assert (trial.user_attrs["seed"], trial.user_attrs["fidelity"]) == (3, 1.0)
    assert (outcome.trial_results[4].score.seed, runs[1] == runs[0]) == (3, False)
    refused = [trial.user_attrs.get("refused") for trial in study.trials]
    assert refused[5] == "layout 8:1,3,5,7 has been tried with seed 3"


@pytest.mark.slow
def test_objective_memory_is_released(go, planted):
    class Model:
        pass

    inner, models = planted(0, 8, 4), []

    def measure(run, check):
        model = Model()
        models.append(weakref.ref(model))
        return inner(run, check)

    left = []

    def watch(finding):
        gc.collect()
        left.append(sum(model() is not None for model in models))

    go(measure, pruner="halving", callback=watch)
    assert left == [0] * 9


def test_search_prints_and_warns_nothing(go, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(sampler="tpe")
        go(sampler="tpe", trials=12)
    assert capfd.readouterr() == ("", "")
