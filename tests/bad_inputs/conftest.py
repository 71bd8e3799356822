"""Bad inputs: across the whole command, each is refused with code 2 and one line, and no trace."""

import pytest

from autoprune.errors import OptionError, TrialError


def read_tree(folder):
    """Return the content of each path below `folder`, without the empty files of locks."""
    return {
        path: path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".guard") and path.name != ".lock"
    }


@pytest.fixture
def refused(run, tmp_path):
    """Return a function that runs a command, which must fail in one line with all `words`."""

    def refused(*arguments, words):
        before = read_tree(tmp_path)
        line = run(*arguments).refusal()
        assert line.startswith("autoprune: ")
        assert [word for word in words if word not in line] == [], line
        assert "Traceback" not in line
        assert len(line) < 1100
        assert read_tree(tmp_path) == before
        return line

    return refused


@pytest.fixture
def untrained(monkeypatch):
    """Let nothing be trained or served: it is the reading that is tested."""

    def stop(*_, **__):
        raise OptionError("all was read")

    def fail(*_, **__):
        raise TrialError("not trained here")

    monkeypatch.setattr("autoprune.experiment.study_export.export_layout", stop)
    monkeypatch.setattr("autoprune.experiment.cost.measure_costs", stop)
    monkeypatch.setattr("autoprune.search.dashboard._listen", stop)
    monkeypatch.setattr("autoprune.training.evaluator.LayoutEvaluator.evaluate", fail)
    monkeypatch.setattr("autoprune.training.evaluator.LayoutEvaluator.train", fail)
