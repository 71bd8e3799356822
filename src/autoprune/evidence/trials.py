"""Trials as records: what the search measured, in the form that lasts."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from autoprune.evidence.measuring import Conditions
from autoprune.evidence.record import Record, State, key, now
from autoprune.evidence.records import append, read
from autoprune.scoring.budget import Budget
from autoprune.search.findings import Finding


def trial_record(
    finding: Finding, conditions: Conditions, budget: Budget, model: str, parameters: int
) -> Record:
    """Return the record of a finished trial, made within the quick `budget`."""
    return Record(
        phase="search",
        origin=finding.origin,
        layout=finding.layout,
        start="pretrained",
        model=model,
        task=conditions.task,
        metric=conditions.metric,
        budget=budget,
        seed=finding.seed,
        scores=() if finding.score is None else (finding.score,),
        parameters=parameters,
        fingerprints=conditions.fingerprints,
        versions=conditions.versions,
        device=conditions.device,
        finished=now(),
        notes=(finding.score.note,) if finding.score and finding.score.note else (),
        state=cast(State, finding.state),
        reason=finding.reason,
    )


def append_new(path: Path, records: Iterable[Record]) -> None:
    """Append the records whose measurement `path` does not hold yet.

    The study's storage is what counts while a search runs; a process killed between the two
    writes leaves a trial without its record, which is added when the study goes on.
    """
    there = {key(record) for record in read(path) if record.phase == "search"}
    for record in records:
        if key(record) not in there:
            append(path, record)
