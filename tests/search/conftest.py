"""Planted landscapes to search, and the storages to keep a search in."""

import dataclasses
from math import comb

import numpy as np
import optuna
import pytest

from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.search_space import all_flags, layout_rank
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Hide Optuna's messages, and do not wait for the disk."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def landscape():
    """Return qualities in [0, 1] of all layouts: half additive, half pairwise effects."""

    def draw(seed, depth=12, keep=6):
        rng = np.random.default_rng(seed)
        signs = 2.0 * all_flags(depth, keep) - 1.0  # (layouts, depth)
        single = signs @ rng.normal(size=depth)
        pairs = np.triu(rng.normal(size=(depth, depth)), 1)
        pairwise = np.einsum("ni,ij,nj->n", signs, pairs, signs)
        total = single / single.std() + pairwise / (pairwise.std() or 1.0)
        assert len(total) == comb(depth, keep)
        return (total - total.min()) / np.ptp(total)

    return draw


@pytest.fixture(scope="session")
def planted(landscape):
    """Return a measure that looks qualities up and has three checks, the last one at its end.

    `hooks`: what is called at the given moment, (layout, step), with step 0 before the start.
    """

    def make(seed=0, depth=12, keep=6, hooks=None):
        table = landscape(seed, depth, keep)
        calls = hooks or {}

        def measure(run, check):
            layout, seed = run.layout, run.seed
            calls.get((layout, 0), lambda: None)()
            quality = float(table[layout_rank(layout)])
            for step in (10, 20, 30):
                check(quality * step / 30, step)
                calls.get((layout, step), lambda: None)()
            return Score(quality, quality, quality, 1 - quality, "validation", seed, 0.5)

        return measure

    return make


@pytest.fixture
def go(planted, tmp_path):
    """Search layouts that keep 4 of 8 layers, in a journal of this test unless told otherwise."""

    def call(measure=None, trials=9, **changes):
        storage = changes.pop("storage", None) or open_storage(None, tmp_path / "study")
        options = {key: changes.pop(key, None) for key in ("callback", "start_trial")}
        settings = SearchSettings(
            **{"depth": 8, "keep": 4, "trials": trials, "initial_layouts": FIRST, **changes}
        )
        objective = measure or planted(0, 8, 4)
        return optimize_study(objective, settings, storage, "shc", {"model": "mr-12"}, **options)

    return call


@pytest.fixture(scope="session")
def told():
    """Return a function of what must not depend on interruptions: all fields of all findings."""
    return lambda outcome: [dataclasses.astuple(finding) for finding in outcome.trial_results]
