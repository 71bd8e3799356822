"""Fixtures: a search that tests stop and resume, and its result when it is not stopped."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def resumable(model, task):
    """Return the arguments of a search that takes some seconds."""
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 6),
        *("--epochs", 5, "--full-epochs", 3, "--seeds", 2, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--strategy", "middle", "--workers", 1, "--json"),
    ]


@pytest.fixture(scope="session")
def undisturbed(run, resumable, tmp_path_factory):
    """Run that search once without a stop; return its folder and its answer."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return SimpleNamespace(folder=folder, answer=run(*resumable, folder=folder))
