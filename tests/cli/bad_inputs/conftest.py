"""Bad inputs: what each command is given, and the words that its one line must contain.

Each command ends with code 2 and one line on standard error, without a traceback, and leaves the
working folder unchanged. Inputs that only look bad are tested beside them, and must work.
"""

from pathlib import Path

import pytest

from command import run as command_here
from tiny_models import save_model

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"एक {i},a\nदोन {i},b\n" for i in range(8))
SHORT = ("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--workers", 1)


@pytest.fixture(scope="session", autouse=True)
def one_core():
    """Train with one thread: tiny models are slow on several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoprune.experiment.setup.available_cores", lambda: 1)
        yield


@pytest.fixture
def here(tmp_path):
    """Return the working folder."""
    return Path(tmp_path)


@pytest.fixture(scope="session")
def run():
    return command_here


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Return the folder of a tiny BERT with five layers."""
    return save_model("bert", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    """Return a folder with 16 train rows of two labels."""
    folder = tmp_path_factory.mktemp("tasks") / "own"
    folder.mkdir()
    folder.joinpath("train.csv").write_text(GOOD, encoding="utf-8")
    return folder


@pytest.fixture
def search(model, task):
    """Return a function that gives the arguments of the shortest search, then further options."""

    def search(*options):
        start = ("search", "--model", model, "--task", task, "--keep", 2, "--trials", 1)
        return (*start, *SHORT, *options)

    return search


@pytest.fixture
def baseline(model, task):
    """Return a function that gives the arguments of the shortest baseline, then further options."""

    def baseline(*options):
        start = ("baseline", "--model", model, "--task", task, "--keep", 2, "--strategy", "top")
        return (*start, *SHORT, *options)

    return baseline


def read_tree(folder):
    """Return the content of each path below `folder`, without the empty files of locks."""
    return {
        path: path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".guard")
    }


@pytest.fixture
def refused(here):
    """Return a function that runs a command, which must fail in one line with all `words`."""

    def refused(*arguments, words):
        before = read_tree(here)
        answer = command_here(*arguments)
        assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
        assert answer.lines[0].startswith("autoprune: ")
        assert [word for word in words if word not in answer.lines[0]] == [], answer.lines[0]
        assert "Traceback" not in answer.err
        assert len(answer.lines[0]) < 600
        assert read_tree(here) == before
        return answer

    return refused
