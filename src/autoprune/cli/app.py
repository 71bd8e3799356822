"""The commands under one name, and how their mistakes are told."""

import os
import sys

import typer

from autoprune import __version__
from autoprune.cli.baseline import baseline
from autoprune.cli.compare import compare
from autoprune.cli.cost import cost
from autoprune.cli.dashboard import dashboard
from autoprune.cli.export import export
from autoprune.cli.lists import layouts, models, tasks
from autoprune.cli.predict import predict
from autoprune.cli.pretrain import pretrain
from autoprune.cli.report import report
from autoprune.cli.reproduce import reproduce
from autoprune.cli.score import score
from autoprune.cli.search import search
from autoprune.cli.studies import studies
from autoprune.cli.worker import worker
from autoprune.errors import AutopruneError, is_disk_full, is_out_of_memory
from autoprune.experiment.tracking import close_handlers, emit

app = typer.Typer(
    name="autoprune",
    help="Find out which layers of an encoder your task needs, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

for command in (
    search,
    worker,
    baseline,
    score,
    export,
    predict,
    cost,
    reproduce,
    pretrain,
    report,
    studies,
    compare,
    dashboard,
    models,
    tasks,
    layouts,
):
    app.command()(command)

_ROOM = "; the disk is full: make room on it and run the same command again"

_NO_MEMORY = (
    "out of memory: give a smaller --batch (in a search also --tokens or --workers), or another "
    "--device"
)


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
    """Run one command and leave: code 0, 2 for a user's mistake (one line), 130 after Ctrl-C."""
    # Read when torch is loaded. GNU OpenMP's threads else wait for each other by spinning: beside
    # other work on the same cores two threads were measured more than 16 times slower than one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code = 1  # of an error that is ours
    try:
        # The name is given: completion asks for it, and `python -m autoprune` has another.
        code = app(arguments, prog_name="autoprune", standalone_mode=False) or 0
    except (AutopruneError, typer.TyperException) as error:
        message = str(error) if isinstance(error, AutopruneError) else error.format_message()
        if message:  # none where the help was asked for by giving no command
            _say(message + _ROOM * is_disk_full(error))
        code = 2
    except OSError as error:
        if not is_disk_full(error):
            raise
        _say(str(error) + _ROOM)
        code = 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        _say(f"{_NO_MEMORY} ({_first_sentence(error)})")
        code = 2
    finally:
        close_handlers(code)
    sys.exit(code)


def _first_sentence(error: Exception) -> str:
    return str(error).partition(". ")[0].strip() or type(error).__name__


def _say(line: str) -> None:
    said = " ".join(line.split())
    typer.echo(f"autoprune: {said}", err=True)
    emit("refused", line=said)
