"""Bad inputs: what each command is given, and the words that its one line must contain.

Each command ends with code 2 and one line on standard error, without a traceback, and leaves the
working folder unchanged. Inputs that only look bad are tested beside them, and must work.
"""

import pytest

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"एक एक {i},a\nदोन दोन {i},b\n" for i in range(8))
SHORT = ("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--workers", 1)


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
    start = ("search", "--model", model, "--task", task, "--keep", 2, "--trials", 1)
    return lambda *options: (*start, *SHORT, *options)


@pytest.fixture
def baseline(model, task):
    """Return a function that gives the arguments of the shortest baseline, then further options."""
    start = ("baseline", "--model", model, "--task", task, "--keep", 2, "--strategy", "top")
    return lambda *options: (*start, *SHORT, *options)


def read_tree(folder):
    """Return the content of each path below `folder`, without the empty files of locks."""
    return {
        path: path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".guard")
    }


@pytest.fixture
def refused(run, tmp_path):
    """Return a function that runs a command, which must fail in one line with all `words`."""

    def refused(*arguments, words):
        before = read_tree(tmp_path)
        answer = run(*arguments)
        line = answer.refusal()
        assert line.startswith("autoprune: ")
        assert [word for word in words if word not in line] == [], line
        assert "Traceback" not in line
        assert len(line) < 600
        assert read_tree(tmp_path) == before
        return answer

    return refused
