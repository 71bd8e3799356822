"""The command run in this process, and what it came back with."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass

import pytest

from autoprune.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command came back with."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        """The lines of standard error that hold anything."""
        return [line for line in self.err.splitlines() if line.strip()]

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
        pytest.raises(SystemExit) as left,
    ):
        patch.setattr(sys, "argv", ["autoprune", *map(str, arguments)])
        main()
    return Answer(left.value.code, out.getvalue(), err.getvalue())
