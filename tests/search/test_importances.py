"""Importances: which layers decide, from the trials of a search."""

import optuna
import pytest

from autoprune.layouts.layout import all_layouts
from autoprune.search.dashboard import layer_importances
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.search.trial import distributions
from autoprune.training.metrics import Score


def run(measure, trials, name="s"):
    storage = optuna.storages.InMemoryStorage()
    settings = SearchSettings(depth=6, keep=3, trials=trials, sampler="random")
    optimize_study(measure, settings, storage, name, {})
    return storage


def deciding(layer):
    """Return a measure in which one layer decides."""

    def measure(run, check):
        quality = 0.9 if layer in run.layout.keep else 0.1
        return Score(quality, quality, quality, 0.5, "validation", run.seed, 0.1)

    return measure


def test_layer_importances_rank_the_deciding_layer_first():
    storage = run(deciding(4), len(all_layouts(6, 3)))
    shares = layer_importances(storage, "s")
    assert set(shares) == {f"layer {layer}" for layer in range(6)}
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "layer 4", "the most important one comes first"
    assert list(shares.values()) == pytest.approx(sorted(shares.values(), reverse=True), abs=1e-9)
    assert shares["layer 4"] > 0.8
    assert layer_importances(storage, "s") == shares


@pytest.mark.parametrize(("name", "trials"), [("other", 6), ("s", 2)])
def test_layer_importances_need_a_study_and_trials(name, trials):
    assert layer_importances(run(deciding(1), trials), name) == {}


def test_layer_importances_of_equal_scores_are_empty():
    def measure(run, check):
        return Score(0.5, 0.5, 0.5, 0.5, "validation", run.seed, 0.1)

    assert layer_importances(run(measure, 6), "s") == {}


def test_layer_importances_use_the_smallest_budget_only():
    """Full runs score higher, whatever layers they keep."""
    storage = run(deciding(4), len(all_layouts(6, 3)))
    before = layer_importances(storage, "s")
    study = optuna.load_study(study_name="s", storage=storage)
    for trial in study.get_trials()[:8]:
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=distributions(6),
                user_attrs={"seed": 1, "fidelity": 0.25},
                value=trial.value / 2,
            )
        )
    small = layer_importances(storage, "s")
    assert next(iter(small)) == "layer 4" and small != before, "of the eight alone"
