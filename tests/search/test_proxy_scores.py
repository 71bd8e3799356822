"""A cheap score in the search: a good one helps, a worthless one does no lasting harm."""

import numpy as np
import optuna
import pytest

from autoprune.layouts.layout import all_layouts
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.search_space import layout_rank
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.training.metrics import Score

FIRST = strategy_layouts(["top", "middle", "bottom", "alternate"], 12, 6)
LAYOUTS = all_layouts(12, 6)


def regret(table, hints, seed, trials=14):
    def measure(run, check):
        quality = float(table[layout_rank(run.layout)])
        return Score(quality, quality, quality, 0.5, "validation", run.seed, 0.1)

    outcome = optimize_study(
        measure,
        SearchSettings(
            depth=12,
            keep=6,
            trials=trials,
            seed=seed,
            initial_layouts=FIRST,
            proxy_scores=hints,
        ),
        optuna.storages.InMemoryStorage(),
        "hinted",
        {},
    )
    lost = (table.max() - table[layout_rank(outcome.found)]) / (table.max() - table.mean())
    return float(lost), outcome.trust


@pytest.fixture(scope="module")
def courses(landscape):
    """Regret and trust after 14 runs over 6 landscapes: without hints, with good, with noise."""
    found = {"none": [], "good": [], "noise": []}
    for seed in range(6):
        table, rng = landscape(seed), np.random.default_rng(seed)
        noise = rng.normal(size=len(LAYOUTS))
        good = table / table.std() + 0.3 * noise
        found["none"].append(regret(table, None, seed))
        found["good"].append(regret(table, dict(zip(LAYOUTS, good, strict=True)), seed))
        found["noise"].append(regret(table, dict(zip(LAYOUTS, noise, strict=True)), seed))
    return {name: np.mean(each, axis=0) for name, each in found.items()}


def test_good_proxy_scores_are_trusted_and_help(courses):
    assert courses["good"][0] < 0.5 * courses["none"][0], courses
    assert courses["good"][1] > 0.5


def test_worthless_proxy_scores_get_little_trust(courses):
    assert abs(courses["noise"][1]) < 0.2, courses
    assert courses["noise"][0] < courses["none"][0] + 0.1, courses
