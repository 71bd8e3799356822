"""Command line application: all commands under one name, and one line for each user's mistake."""

import os
import sys

import typer

from autoprune import __version__
from autoprune.cli.cost import cost
from autoprune.cli.export import export
from autoprune.cli.lists import layouts, models, studies, tasks
from autoprune.cli.predict import predict, serve
from autoprune.cli.pretrain import pretrain
from autoprune.cli.report import compare, dashboard, report
from autoprune.cli.reproduce import reproduce
from autoprune.cli.score import score
from autoprune.cli.search import baseline, search
from autoprune.cli.shutdown import close_trackers, emit
from autoprune.cli.worker import worker
from autoprune.errors import (
    AutopruneError,
    first_line,
    is_disk_full,
    is_out_of_memory,
    printable,
)
from autoprune.experiment.events import CommandRefused

app = typer.Typer(
    name="autoprune",
    help="Find out which layers of an encoder your task needs, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS = {
    "Search": (search, baseline, worker, score),
    "Results": (report, studies, compare, dashboard, cost),
    "Take home": (export, predict, serve),
    "More": (pretrain, reproduce, models, tasks, layouts),
}

for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

_FULL_DISK = "; the disk is full: make room on it and run the same command again"

_OUT_OF_MEMORY = (
    "out of memory: give a smaller --batch (in a search also --tokens or --workers), or another "
    "--device"
)

_TOO_LARGE = (
    "out of memory: a file, the model or a number that was given is too large for this machine, "
    "give a smaller one or free memory"
)

_MAX_LINE = 1000  # characters of a message


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoprune {__version__}")
        raise typer.Exit


@app.callback()
def _autoprune(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: code 0, 2 for a user's mistake (one line), 130 after Ctrl-C."""
    # Must be set before torch is loaded. Without it the threads of GNU OpenMP wait for each other
    # by spinning: beside other work on the same cores, two threads were 16 times slower than one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code = 1  # of an error in autoprune itself
    try:
        # Shell completion needs the name; `python -m autoprune` would give another.
        code = app(arguments, prog_name="autoprune", standalone_mode=False) or 0
    except Exception as error:
        message = _user_message(error)
        if message is None:
            raise
        code = 2
        if message:
            _print_error(message)
    finally:
        close_trackers(code)
    sys.exit(code)


def _user_message(error: Exception) -> str | None:
    """Return what to tell the user about `error`; None for an error in autoprune itself."""
    if isinstance(error, AutopruneError):
        return str(error) + _FULL_DISK * is_disk_full(error)
    if isinstance(error, typer.TyperException):
        return error.format_message()  # empty if no command was given: the help is printed
    if isinstance(error, MemoryError):  # torch raises others, see below
        return _TOO_LARGE
    if is_disk_full(error):
        return first_line(error) + _FULL_DISK
    if is_out_of_memory(error):
        reason = str(error).partition(". ")[0].strip() or type(error).__name__
        return f"{_OUT_OF_MEMORY} ({reason})"
    return None


def _print_error(message: str) -> None:
    line = printable(" ".join(message.split()))
    line = line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."
    typer.echo(f"autoprune: {line}", err=True)
    emit(CommandRefused(line))
