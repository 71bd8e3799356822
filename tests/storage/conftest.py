"""A small study in a journal, and the storages of `storage_fixtures`."""

import optuna
import pytest

import fake_worker
from autoprune.storage.storage import JOURNAL


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Hide Optuna's messages, and do not wait for the disk."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def search(tmp_path):
    """Return a function that runs a search in a journal until it has so many trials."""
    return lambda trials: fake_worker.run_search(str(tmp_path / "study"), "random", trials, 0)


@pytest.fixture
def journal(search, tmp_path):
    """Return the journal file of a study with four trials."""
    search(4)
    return tmp_path / "study" / JOURNAL
