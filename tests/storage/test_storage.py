import json
import sqlite3
import traceback

import optuna
import psycopg
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError

import fake_worker
from autoprune.errors import StorageError
from autoprune.storage import storage as storage_module
from autoprune.storage.errors import failure_reason, mask_password, storage_failures
from autoprune.storage.locks import lock_study_folder
from autoprune.storage.rdb import BatchedRDBStorage
from autoprune.storage.storage import JOURNAL, open_storage
from autoprune.training.metrics import Score


def refused(location, folder):
    with pytest.raises(StorageError) as error:
        open_storage(location, folder)
    assert "secret" not in "".join(traceback.format_exception(error.value))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "tail", [b"{", b'{"op_code":5,"worker', b"\0\0\0\0", b'{"op_code":5,"p":"\xe0\xa4']
)
def test_journal_with_an_incomplete_last_line_is_repaired(tail, journal, search):
    before = journal.read_bytes()
    journal.write_bytes(before + tail)
    open_storage(None, journal.parent)
    assert journal.read_bytes() == before
    assert search(5).trials == 5
    assert search(6).trials == 6


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_journal_of_one_incomplete_line_is_started_again(cut, journal, search):
    journal.write_bytes(journal.read_bytes()[:cut])
    assert search(4).trials == 4


@pytest.mark.parametrize(
    "garbage", [b"hello\n", b"[1]\n", b'{"op_code":77}\n', b"\xff\xfe\n", b"no newline", b"\n"]
)
@pytest.mark.parametrize("line", [1, 4, None])
def test_journal_with_an_invalid_line_is_refused_unchanged(garbage, line, journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    index = len(lines) if line is None else line - 1
    content = b"".join([*lines[:index], garbage, *lines[index:]])
    journal.write_bytes(content)
    message = refused(None, journal.parent)
    assert f"is broken at line {index + 1}: bring back a copy, or move" in message
    assert journal.read_bytes() == content


def test_journal_without_a_study_is_refused(journal):
    journal.write_text('{"op_code":5,"worker_id":"w"}\n')
    assert "holds no study that Optuna can read" in refused(None, journal.parent)


def test_journal_ignores_a_lock_of_a_killed_process(journal, search):
    journal.with_name(JOURNAL + ".lock").symlink_to(journal)  # Optuna's own way
    assert journal.with_name(JOURNAL + ".guard").exists()
    assert search(5).trials == 5


def test_open_storage_refuses_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot keep a study in" in refused(None, tmp_path / "file")
    assert "cannot keep a study in" in refused(None, tmp_path / "file" / "below")
    with (
        pytest.raises(StorageError, match="cannot keep a study in"),
        lock_study_folder(tmp_path / "file"),
    ):
        pass


def test_open_storage_refuses_a_read_only_journal(journal, monkeypatch):
    def deny(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert refused(None, journal.parent).endswith("Permission denied")


@pytest.mark.parametrize(
    "location", ["study.db", "ldap://ann:secret@host/x", "mysql://ann:secret@h/x", "://"]
)
def test_open_storage_refuses_urls_of_other_databases(location, tmp_path):
    assert refused(location, tmp_path).startswith("a storage is a")


def test_open_storage_names_a_missing_driver(tmp_path):
    message = refused("postgresql+pg8000://ann:secret@localhost/x", tmp_path)
    assert 'pip install "autoprune[postgresql]"' in message


def test_open_storage_refuses_a_file_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("Dear diary, " * 100)
    assert "file is not a database" in refused(f"sqlite:///{tmp_path}/study.db", tmp_path)


def test_open_storage_refuses_a_database_in_a_missing_folder(tmp_path):
    assert "unable to open" in refused(f"sqlite:///{tmp_path}/missing/study.db", tmp_path)


def test_open_storage_refuses_a_database_of_another_optuna(tmp_path):
    location = f"sqlite:///{tmp_path}/study.db"
    open_storage(location, tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("update version_info set schema_version = 1")
        database.execute("update alembic_version set version_num = 'v0.0.1'")
    assert "another version of Optuna" in refused(location, tmp_path)


def test_open_storage_retries_an_unreachable_server(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.monotonic", lambda: sum(pauses))
    monkeypatch.setattr("time.sleep", pauses.append)
    message = refused("postgresql+psycopg://ann:secret@127.0.0.1:1/x", tmp_path)
    assert pauses == [0.3, 0.6, 1.2, 2.4]
    assert "tried for 4 seconds" in message or "tried for 5 seconds" in message
    assert "postgresql+psycopg://ann:***@127.0.0.1:1/x" in message


@pytest.mark.parametrize("by_optuna", [False, True])
@pytest.mark.parametrize(
    "why",
    [
        *("FATAL: the database system is starting up", "FATAL: it is shutting down"),
        *("FATAL: it is not yet accepting connections", "terminating connection due to a command"),
    ],
)
def test_open_storage_waits_for_a_restarting_server(why, by_optuna, tmp_path, monkeypatch):
    tries = []

    def refuse(*_, **__):
        tries.append(why)
        if len(tries) == 3:
            return there
        error = sqlalchemy.exc.OperationalError("", {}, psycopg.OperationalError(why))
        if by_optuna:  # in its look at the tables' version
            raise StorageInternalError("An exception is raised during the commit.") from error
        raise error

    there = BatchedRDBStorage(f"sqlite:///{tmp_path / 'there.db'}")
    monkeypatch.setattr(storage_module, "BatchedRDBStorage", refuse)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    open_storage("postgresql+psycopg://ann@127.0.0.1/x", tmp_path)
    assert len(tries) == 3


def test_open_storage_refuses_and_hides_a_wrong_password(postgresql, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    wrong = postgresql.replace("//postgres:@", "//ann:secret%21@")
    message = refused(wrong, tmp_path)
    assert 'password authentication failed for user "ann"' in message
    assert "ann:***@" in message
    assert pauses == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://ann:se%40cret@h:5432/d", "postgresql://ann:***@h:5432/d"),
        ("postgresql://h/d?user=ann&password=secret", "postgresql://h/d?password=***&user=ann"),
        ("postgresql://ann:secret@h:port/d", "postgresql:***"),
        ("postgresql+psycopg://h:54x32/d?password=secret", "postgresql+psycopg:***"),
        ("postgresql//ann@h/d?sslpassword=secret", "***"),
        ("ann:secret@h/d", "ann:***"),
        ("secret@h/d", "***"),
        ("sqlite:/study.db", "sqlite:/study.db"),
        (
            "postgresql://h/d?sslmode=verify-full&a=%20b",
            "postgresql://h/d?sslmode=verify-full&a=%20b",
        ),
    ],
)
def test_mask_password_hides_nothing_else(url, shown):
    assert mask_password(url) == shown


def test_failure_reason_hides_both_spellings_of_a_password():
    error = OSError("no se@cret for se%40cret,\nsorry")
    assert failure_reason(error, "postgresql://ann:se%40cret@h/d") == "no *** for ***, sorry"


def test_storage_failure_during_a_search_is_one_line(search, journal, monkeypatch):
    def objective(run, report):
        journal.unlink()
        journal.mkdir()
        return Score(0.5, 0.5, 0.5, 0.5, "validation", run.seed, 0.1)

    monkeypatch.setattr(fake_worker, "_objective", lambda seconds, moment: objective)
    with pytest.raises(StorageError, match=r"the study's storage failed: .*Is a directory"):
        search(5)


def test_storage_failures_lets_other_errors_through():
    with pytest.raises(ZeroDivisionError), storage_failures():
        _ = 1 / 0


def test_journal_is_readable_by_plain_optuna(journal):
    plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    assert len(optuna.load_study(study_name="fake", storage=plain).trials) == 4
    assert all(json.loads(line) for line in journal.read_text().splitlines())
