"""A device without memory: one line that says what to do, wherever it ran out."""

import pytest
import torch

from autoprune.cli import app


@pytest.fixture
def end(monkeypatch, capsys):
    """Return a function that runs a command which ends in an error: its code and its lines."""

    def end(error):
        def refuse(*_, **__):
            raise error

        monkeypatch.setattr(app, "app", refuse)
        with pytest.raises(SystemExit) as left:
            app.main(["studies"])
        out, err = capsys.readouterr()
        assert out == ""
        return left.value.code, err.splitlines()

    return end


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has"),
            "CUDA out of memory",
        ),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
            "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
        ),
        (MemoryError(), "MemoryError"),
    ],
)
def test_the_line_names_the_remedy(end, error, why):
    code, lines = end(error)
    assert code == 2
    assert lines == [
        "autoprune: out of memory: give a smaller --batch (in a search also --tokens or "
        f"--workers), or another --device ({why})"
    ]


def test_other_errors_of_torch_are_not_hidden(end):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        end(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
