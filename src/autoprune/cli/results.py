"""Results: what a command is handed to show its progress, and how it prints what it found."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoprune.cli.options import REPORTS_FOLDER, show
from autoprune.cli.shutdown import graceful_shutdown
from autoprune.cli.tables import print_comparison, print_line
from autoprune.errors import AutopruneError, first_line
from autoprune.experiment.context import RunContext
from autoprune.experiment.events import Emit
from autoprune.experiment.progress import ProgressDisplay
from autoprune.experiment.result import StudyResult
from autoprune.storage.errors import mask_password


def command_context(emit: Emit) -> RunContext:
    """Return what a study is handed by a command; standard output is left alone."""
    display = ProgressDisplay()
    shutdown = partial(graceful_shutdown, display.say)
    return RunContext(command_line(sys.argv[1:]), display, emit, shutdown)


def study_context(emit: Emit, quiet: bool) -> RunContext:
    """Return a context in which each study's page is written, and its result printed.

    `quiet` leaves standard output alone.
    """
    context = command_context(emit)
    show_result = partial(_write_page_only if quiet else print_result, say=context.progress.say)
    return replace(context, on_result=show_result)


def _write_page_only(result: StudyResult, seconds: float, say: Callable[[str], None]) -> None:  # noqa: ARG001
    write_page(result, say)


def write_page(result: StudyResult, say: Callable[[str], None]) -> Path | None:
    """Write the report as a page for the browser; a study is not lost where that fails."""
    from autoprune.experiment.study_reports import write_study_reports

    try:
        return write_study_reports([result.study], REPORTS_FOLDER, None, None, say)[-1]
    except (AutopruneError, OSError) as error:
        say(f"the page of {result.name} was not written: {first_line(error)}")
        return None


def print_result(result: StudyResult, seconds: float, say: Callable[[str], None]) -> None:
    """Print a study's table, verdict, recommendation, files, and what can be done next."""
    print_comparison(result.study.comparison)
    print_line(result.verdict)
    print_line(result.recommendation)
    for warning in result.warnings:
        print_line(f"Warning: {warning}")
    records = result.folder / "records.jsonl"
    page = write_page(result, say)
    shown = f"   page: {page}" if page else ""
    print_line(f"Report: {result.report}{shown}   records: {records}   {seconds:.0f} s")
    comparison = result.study.comparison
    layout = comparison.row(comparison.best).layout if result.study.is_beside_search else ""
    print_line(next_commands(result.name, comparison.recommended is not None, str(layout)))


def next_commands(name: str, learned: bool, layout: str = "") -> str:
    """Return the line on what can be done with study `name`; no export where nothing has learned.

    `layout` is that of a baseline beside a search, whose name means the search.

    >>> next_commands("a b", learned=False)
    "Next: autoprune report 'a b' --open   autoprune dashboard 'a b'"
    """
    name = shlex.quote(name)
    steps = [*([] if layout else [f"report {name} --open"]), f"dashboard {name}"]
    if learned:  # else the warnings say what to change
        steps.insert(-1, f"export {name}{layout and f' --layout {layout}'} --out my-model")
    return f"Next: {'   '.join(f'autoprune {step}' for step in steps)}"


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
