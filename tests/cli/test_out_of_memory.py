"""A device without memory: one line that says what to do, wherever it ran out."""

import pytest
import torch

from autoprune.cli import app
from autoprune.encoders.running import Classifier


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


def test_a_prediction_that_runs_out_leaves_no_file(run, copy, here, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("planted")

    answer = run("export", "tiny-own-keep2", "--out", "taken", "--seeds", 1)
    assert answer.code == 0, answer.err
    here.joinpath("texts.csv").write_text("text\nएक दोन\n", encoding="utf-8")
    monkeypatch.setattr(Classifier, "__call__", full)
    answer = run("predict", "taken", "texts.csv", "--out", "labels.csv")
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert answer.lines[0].startswith("autoprune: out of memory: give a smaller --batch")
    assert not list(here.glob("*labels*"))
