"""Results: what a command is handed to show its progress, and how it prints what it found."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from autoprune.cli.options import show
from autoprune.cli.shutdown import graceful_shutdown
from autoprune.cli.tables import print_comparison, print_line
from autoprune.experiment.context import RunContext
from autoprune.experiment.events import Emit
from autoprune.experiment.progress import ProgressDisplay
from autoprune.experiment.result import StudyResult
from autoprune.storage.errors import mask_password


def command_context(emit: Emit, quiet: bool) -> RunContext:
    """Return what a study is handed by a command; `quiet` leaves standard output alone."""
    display = ProgressDisplay()
    shutdown = partial(graceful_shutdown, display.say)
    context = RunContext(command_line(sys.argv[1:]), display, emit, shutdown)
    return context if quiet else replace(context, on_result=print_result)


def print_result(result: StudyResult, seconds: float) -> None:
    """Print a study's table, verdict and recommendation."""
    print_comparison(result.study.comparison)
    print_line(result.verdict)
    print_line(result.recommendation)
    for warning in result.warnings:
        print_line(f"Warning: {warning}")
    records = result.folder / "records.jsonl"
    print_line(f"Report: {result.report}   records: {records}   {seconds:.0f} s")


def print_json(values: Mapping[str, Any], seconds: float) -> None:
    """Print a result as one JSON object on standard output, with the seconds that it took."""
    show(json.dumps({**values, "seconds": round(seconds, 1)}))


def command_line(arguments: Sequence[str]) -> str:
    """Return what was typed, without the passwords of a storage URL.

    >>> command_line(["search", "--storage=postgresql+psycopg://me:se@cret@db/x", "--text", "a b"])
    "autoprune search '--storage=postgresql+psycopg://me:***@db/x' --text 'a b'"
    """
    typed = ["autoprune"]
    for argument in arguments:
        start = argument.find("=") + 1 if argument.startswith("--") else 0
        value = argument[start:]
        typed.append(argument[:start] + (mask_password(value) if "://" in value else value))
    return shlex.join(typed)
