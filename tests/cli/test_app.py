"""Errors of a command: one line that says what to do, and the exit code."""

import errno

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from autoprune.cli import app
from autoprune.errors import AutopruneError, StorageError, is_disk_full


@pytest.fixture
def run_failing(monkeypatch, capsys):
    """Return a function that runs a command which raises an error: its exit code and its lines."""

    def run_failing(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(app, "app", fail)
        with pytest.raises(SystemExit) as end:
            app.main(["studies"])
        out, err = capsys.readouterr()
        assert out == ""
        return end.value.code, err.splitlines()

    return run_failing


def caused(message, cause):
    error = StorageError(message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "records.jsonl"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        caused("the study's storage failed", OSError(errno.ENOSPC, "No space left on device")),
        StorageError("(sqlite3.OperationalError) database or disk is full"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_is_one_line_with_the_remedy(run_failing, error):
    code, [line] = run_failing(error)
    assert code == 2
    assert line.endswith("; the disk is full: make room on it and run the same command again")


@pytest.mark.parametrize(
    "error", [None, OSError(errno.EACCES, "Permission denied"), AutopruneError("full of typos")]
)
def test_full_disk_is_not_seen_in_other_errors(error):
    assert not is_disk_full(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has"),
            "CUDA out of memory",
        ),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
            "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
        ),
    ],
)
def test_out_of_memory_is_one_line_with_the_remedy(run_failing, error, reason):
    code, lines = run_failing(error)
    assert code == 2
    assert lines == [
        "autoprune: out of memory: give a smaller --batch (in a search also --tokens or "
        f"--workers), or another --device ({reason})"
    ]


@pytest.mark.parametrize(
    "error", [MemoryError(), np._core._exceptions._ArrayMemoryError((9,), int)]
)
def test_out_of_memory_elsewhere_does_not_blame_the_batch(run_failing, error):
    code, [line] = run_failing(error)
    assert code == 2
    assert "too large for this machine" in line and "--batch" not in line


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_other_errors_are_raised(run_failing, error):
    with pytest.raises(type(error), match=str(error.args[-1])):
        run_failing(error)
