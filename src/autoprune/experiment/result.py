"""The result: a report in a file, and a table or one JSON object on standard output."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer

from autoprune.errors import StudyError
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.entrants import Entrant
from autoprune.evaluation.records import count_repeated, read_records, utc_now
from autoprune.evaluation.study_files import (
    BASELINE_FILE,
    RECORDS_FILE,
    STUDY_FILE,
    FoundLayout,
    StudyMetadata,
    write_study,
)
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.experiment.proxy_scores import proxy_summary
from autoprune.experiment.search_step import measurement_conditions
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import STUDIES, study_costs
from autoprune.experiment.tables import print_comparison, print_line
from autoprune.files import write_atomic
from autoprune.reporting.markdown_report import markdown_report
from autoprune.reporting.tables import comparison_as_json
from autoprune.search.result import SearchResult
from autoprune.storage.errors import mask_password


def finish_study(
    ground: Experiment,
    asked: Mapping[str, Any],
    folder: Path,
    entrants: Sequence[Entrant],
    comparison: Comparison,
    outcome: SearchResult | None,
    seconds: float,
    quiet: bool,
) -> dict[str, Any]:
    """Write the study's end and the report, print the result unless `quiet`; return it as values.

    `asked` are the arguments of `lay`; `outcome` is None where nothing was searched.
    """
    under = measurement_conditions(ground)
    setting = StudyMetadata(
        model=ground.checkpoint.encoder.name,
        commit=ground.checkpoint.commit,
        task=ground.task.name,
        labels=ground.splits.names,
        metric=ground.task.metric,
        depth=ground.checkpoint.depth,
        keep=ground.keep,
        quick=ground.quick if outcome else None,
        full=ground.full,
        cleaned=(*ground.splits.cleaned, ground.test.cleaned),
        fingerprints=under.fingerprints | {"test": ground.test.fingerprint},
        versions=under.versions,
        device=under.device,
        command=command_line(sys.argv[1:]),
        finished=utc_now(),
        rates=ground.rates,
        hint=proxy_summary(folder, outcome) if outcome else "",
    )
    tried = {finding.layout for finding in outcome.trial_results} if outcome else set()
    trials = [
        record
        for record in read_records(folder / RECORDS_FILE)
        if record.phase == "search"
        and record.budget.whole() == ground.quick.whole()
        and record.layout in tried
    ]
    write_study(folder, asked, setting, entrants, comparison, ground.test, _choice(outcome))
    report = _report(folder, outcome is not None)
    write_atomic(
        report,
        markdown_report(
            setting,
            comparison,
            trials,
            study_costs(folder, comparison, partial(typer.echo, err=True)),
            folder.name,
        ),
    )
    if not quiet:
        print_comparison(comparison)
        print_line(comparison_verdict(comparison))
        print_line(recommendation(comparison))
        print_line(f"Report: {report}   records: {folder / RECORDS_FILE}   {seconds:.0f} s")
    return _object(folder, comparison, outcome, report)


def print_object(result: Mapping[str, Any], seconds: float) -> None:
    """Print a result as one JSON object on standard output, with the seconds that it took."""
    typer.echo(json.dumps({**result, "seconds": round(seconds, 1)}))


def _choice(outcome: SearchResult | None) -> FoundLayout | None:
    if outcome is None or outcome.found is None:
        return None
    assert outcome.mean is not None and outcome.std is not None, "what was found has a mean"
    return FoundLayout(outcome.found, outcome.mean, outcome.std)


def check_study_paths(folder: Path) -> None:
    """Raise `StudyError` now for files that could not be read or written after hours of work."""
    own = (folder / name for name in (RECORDS_FILE, STUDY_FILE, BASELINE_FILE))
    for path in (*own, _report(folder, True), _report(folder, False)):
        check_writable(path)
    read_records(folder / RECORDS_FILE)


def check_writable(path: Path) -> None:
    """Raise `StudyError` where a file cannot be written at `path`."""
    if path.is_dir():
        raise StudyError(f"cannot write {path}: it is a folder, move it away")
    there = next(parent for parent in path.parents if parent.exists())
    if not there.is_dir():
        raise StudyError(f"cannot write {path}: {there} is no folder, move it away")
    if not os.access(path if path.exists() else there, os.W_OK):
        raise StudyError(f"cannot write {path}: no permission, see to it or work elsewhere")


def _report(folder: Path, searched: bool) -> Path:
    """Name the report; that of `baseline` leaves the search's as it is.

    A study of a plan lies one folder deeper, and so does its report.
    """
    deeper = folder.parent.relative_to(STUDIES) if folder.is_relative_to(STUDIES) else Path()
    return Path("reports") / deeper / f"{folder.name}{'' if searched else '-baseline'}.md"


def command_line(arguments: Sequence[str]) -> str:
    """Return what was typed, but for the passwords of a storage URL.

    >>> command_line(["search", "--storage=postgresql+psycopg://me:se@cret@db/x", "--text", "a b"])
    "autoprune search '--storage=postgresql+psycopg://me:***@db/x' --text 'a b'"
    """
    typed = ["autoprune"]
    for argument in arguments:
        start = argument.find("=") + 1 if argument.startswith("--") else 0
        value = argument[start:]
        typed.append(argument[:start] + (mask_password(value) if "://" in value else value))
    return shlex.join(typed)


def _object(
    folder: Path, comparison: Comparison, outcome: SearchResult | None, report: Path
) -> dict[str, Any]:
    searched: dict[str, Any] = {}
    if outcome is not None:
        searched = {
            "found": str(outcome.found),
            "trials": outcome.trials,
            "distinct_layouts": outcome.distinct_layouts,
        }
    return {
        "study": folder.name,
        **searched,
        "recommended": str(comparison.row(comparison.recommended).layout),
        "recommended_origin": comparison.recommended,
        "repeated": count_repeated(read_records(folder / RECORDS_FILE)),
        "verdict": comparison_verdict(comparison),
        "report": str(report),
        "comparison": comparison_as_json(comparison),
    }
