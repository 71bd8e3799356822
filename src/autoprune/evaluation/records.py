"""Records: a file with one JSON line for each measurement, only ever appended to."""

import dataclasses
import json
import os
import platform
from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from autoprune.errors import AutopruneError, StudyError
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

RECORD_SCHEMA = 1

Phase = Literal["search", "tuning", "comparison"]

InitialWeights = Literal["pretrained", "random"]

RecordState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement of one candidate; written once, never edited.

    `origin` is who proposed the layout (a strategy, a sampler, `found`, `full`, `scratch`, a
    rival); `model` is `name@commit`. A complete search or tuning holds its validation score; a
    comparison holds `validation`, `test` (cleaned) and `test-raw`, and in `predictions` the label
    index predicted for each raw test row; a pruned trial holds its last validation score, a failed
    one none, and the `reason`. `fingerprints` are of the data, `finished` is ISO 8601 in UTC.
    """

    phase: Phase
    origin: str
    layout: Layout
    start: InitialWeights
    model: str
    task: str
    metric: str
    budget: Budget
    seed: int
    scores: tuple[Score, ...]
    parameters: int
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    finished: str
    predictions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    state: RecordState = "complete"
    reason: str = ""
    schema: int = RECORD_SCHEMA

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        for score in self.scores:
            if score.split == split:
                return score
        raise KeyError(split)


def utc_now() -> str:
    """Return the time, ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_identity(
    model: str,
    start: str,
    layout: Layout,
    seed: int,
    budget: Budget,
    task: str,
    metric: str,
    fingerprints: dict[str, str],
) -> Hashable:
    """Return what two measurements share only if one repeats the other."""
    return model, start, layout, seed, budget, task, metric, tuple(sorted(fingerprints.items()))


def record_key(record: Record) -> Hashable:
    """Return the `record_identity` of a record's measurement."""
    return record_identity(
        record.model,
        record.start,
        record.layout,
        record.seed,
        record.budget,
        record.task,
        record.metric,
        record.fingerprints,
    )


def count_repeated(records: Iterable[Record]) -> int:
    """Count the measurements made again with the same key in the same phase; failures aside."""
    made = Counter((r.phase, record_key(r)) for r in records if r.state != "failed")
    return sum(times - 1 for times in made.values())


def record_to_json(record: Record) -> str:
    """Return the record as one line of JSON, without the line's end; exact for every float."""
    entry = dataclasses.asdict(record)
    entry |= {"layout": str(record.layout), "budget": record.budget.to_dict()}
    return json.dumps(entry, allow_nan=False, separators=(",", ":"))


_KINDS: dict[str, type] = {
    "origin": str,
    "model": str,
    "task": str,
    "metric": str,
    "seed": int,
    "parameters": int,
    "fingerprints": dict,
    "versions": dict,
    "device": str,
    "finished": str,
    "reason": str,
}

_CHOICES = {
    "phase": get_args(Phase),
    "start": get_args(InitialWeights),
    "state": get_args(RecordState),
}


def record_from_json(text: str) -> Record:
    """Read one line of JSON; raises ValueError with the reason where it is no record."""
    try:
        entry: dict[str, Any] = json.loads(text)
        if entry["schema"] != RECORD_SCHEMA:
            raise ValueError(f"schema {entry['schema']!r} is not {RECORD_SCHEMA}")
        record = Record(
            **entry
            | {
                "layout": Layout.parse(entry["layout"]),
                "budget": Budget.from_dict(entry["budget"]),
                "scores": tuple(Score(**score) for score in entry["scores"]),
                "predictions": tuple(map(int, entry["predictions"])),
                "notes": tuple(map(str, entry["notes"])),
            }
        )
    except (KeyError, TypeError, AttributeError, AssertionError, AutopruneError) as error:
        raise ValueError(str(error)) from error
    for name, kind in _KINDS.items():
        if not isinstance(getattr(record, name), kind):
            raise ValueError(f"{name} must be of type {kind.__name__}")
    for name, choices in _CHOICES.items():
        if getattr(record, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}")
    return record


def read_records(path: Path) -> list[Record]:
    """Read the records, oldest first; none where there is no file yet.

    A last line that was cut off while it was written (no line end) is passed over. Raises
    `StudyError` that names file and line where another line is no record of this schema.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error
    *whole, torn = content.split(b"\n")
    records = [_parsed(line, path, number) for number, line in enumerate(whole, start=1)]
    tail = _tail(torn)
    return records if tail is None else [*records, tail]


def _parsed(line: bytes, path: Path, number: int) -> Record:
    try:
        return record_from_json(line.decode())
    except ValueError as error:
        why = " ".join(str(error).split())[:120]
        raise StudyError(
            f"records must be whole lines written by this version: {path} line {number}: {why!a}"
        ) from error


def _tail(torn: bytes) -> Record | None:
    """Return the record of a last line that lacks only its end, None where it is cut off."""
    try:
        return record_from_json(torn.decode())
    except ValueError:
        return None


def append_records(path: Path, record: Record) -> None:
    """Add a record as the file's last line, on disk when this returns; folders are made.

    What a killed process left of a last line is cut off first. Raises `StudyError` where the file
    cannot be written.
    """
    line = record_to_json(record).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=True)
        with path.open("r+b") as file:
            _mend_end(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error


def _mend_end(file: BinaryIO) -> None:
    """Move to the end of `file`, where a new line begins: a torn last line is cut off or ended."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _tail(content[start:]) is None:
        file.truncate(start)
        file.seek(start)
    else:
        file.write(b"\n")


_OWN = {"found", "scratch", *STRATEGIES}  # these differ from one number of layers to the next


def reuse_shared_runs(
    lenders: Iterable[Path], borrower: Path, models: Collection[str] | None = None
) -> int:
    """Copy the runs of the full model and of rivals to the records `borrower`; return how many.

    `models` (`name@commit`) are those that the borrower may want, None for all.
    Those that are there already, and failed ones, are not copied. Whether a run fits the
    borrower's conditions is told by its identity when it is looked for.
    """
    there = {record_key(record) for record in read_records(borrower)}
    lent = 0
    for lender in lenders:
        for record in read_records(lender):
            common = record.phase != "search" and record.origin not in _OWN
            common &= models is None or record.model in models
            if common and record.state == "complete" and record_key(record) not in there:
                append_records(borrower, record)
                there.add(record_key(record))
                lent += 1
    return lent


RECORDED_PACKAGES = ("autoprune", "torch", "transformers", "optuna")


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on, and of Python."""
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
