"""A catalogue of bad inputs: what each command is given, and what its one line must name.

Every case leaves with code 2 and one line on standard error, without a traceback, and what lies in
the working folder stays as it was. What looks bad and is not stands beside them, and must work.
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
    """Let the command train with one thread: tiny models crawl on several."""
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
    """Return a function that gives the shortest search's arguments; options given again count."""

    def search(*options):
        start = ("search", "--model", model, "--task", task, "--keep", 2, "--trials", 1)
        return (*start, *SHORT, *options)

    return search


@pytest.fixture
def baseline(model, task):
    """Return a function that gives the shortest baseline's arguments; it comes to its end."""

    def baseline(*options):
        start = ("baseline", "--model", model, "--task", task, "--keep", 2, "--strategy", "top")
        return (*start, *SHORT, *options)

    return baseline


def seen(folder):
    """Return what lies below `folder`, with its content; the empty files of locks aside."""
    return {
        path: path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".guard")
    }


@pytest.fixture
def refused(here):
    """Return a function that runs a command, which must refuse in one line with all `words`."""

    def refused(*arguments, words):
        before = seen(here)
        answer = command_here(*arguments)
        assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
        assert answer.lines[0].startswith("autoprune: ")
        assert [word for word in words if word not in answer.lines[0]] == [], answer.lines[0]
        assert "Traceback" not in answer.err
        assert len(answer.lines[0]) < 600
        assert seen(here) == before
        return answer

    return refused
