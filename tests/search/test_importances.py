"""Importances: which layers decide, from the trials of a search."""

import optuna
import pytest

from autoprune.layouts.layout import all_layouts
from autoprune.search.dashboard import layer_importances
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.search.trial import FIDELITY, distributions
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
    assert list(shares) == [f"layer {layer}" for layer in range(6)]
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "layer 4"
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
        quick = {**trial.params, FIDELITY: 0.25}
        study.add_trial(
            optuna.trial.create_trial(
                params=quick, distributions=distributions(6), value=1 - trial.value
            )
        )
    small = layer_importances(storage, "s")
    assert max(small, key=small.get) == "layer 4" and small != before, "of the eight alone"
