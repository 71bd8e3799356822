"""A disk without room: one line that says so and what to do, wherever it was noticed."""

import errno

import pytest

from autoprune.cli import app
from autoprune.errors import AutopruneError, StorageError, is_disk_full


def chained(message, cause):
    error = StorageError(message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "records.jsonl"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        chained("the study's storage failed", OSError(errno.ENOSPC, "No space left on device")),
        StorageError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_the_line_names_the_remedy(error, monkeypatch, capsys):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(app, "app", refuse)
    with pytest.raises(SystemExit) as end:
        app.main(["studies"])
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("; the disk is full: make room on it and run the same command again\n")


@pytest.mark.parametrize(
    "error", [None, OSError(errno.EACCES, "Permission denied"), AutopruneError("full of typos")]
)
def test_other_mistakes_are_not_taken_for_it(error):
    assert not is_disk_full(error)


def test_other_faults_of_the_system_are_not_hidden(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(app, "app", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        app.main(["studies"])
