"""The command run in this process, and its answer."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass

import pytest

from autoprune.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        """The lines of standard error that hold anything."""
        return [line for line in self.err.splitlines() if line.strip()]

    def refusal(self):
        """Return the one line of a command that refused what it was given."""
        assert (self.code, self.out, len(self.lines)) == (2, "", 1), self
        return self.lines[0]

    @property
    def result(self):
        """The one JSON object on standard output, without the time that it took."""
        result = json.loads(self.out)
        del result["seconds"]
        return result


def run(*arguments, folder="."):
    """Run the command in this process, in `folder` if one is given; any error goes through."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        patch.setattr(sys, "argv", ["autoprune", *map(str, arguments)])
        main()
    return Answer(end.value.code, out.getvalue(), err.getvalue())
