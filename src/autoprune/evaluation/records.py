"""Records: one JSON line for each measurement, in a file that only grows."""

import dataclasses
import json
import os
import platform
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from autoprune.errors import StudyError, first_line, printable
from autoprune.files import check_value_type, parse_json, read_regular
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import Label
from autoprune.training.budget import Budget
from autoprune.training.metrics import METRICS, Score

RECORD_SCHEMA = 1

Phase = Literal["search", "tuning", "comparison"]

InitialWeights = Literal["pretrained", "random"]

ORIGINS = {"found", "full", "scratch", *STRATEGIES}  # of a comparison's entrants; others: rivals

RecordState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement of one candidate; written once, never edited.

    `origin` names what proposed the layout (a strategy, a sampler, `found`, `full`, `scratch`, a
    rival); `model` is `name@commit`; `fingerprints` are of the data; `finished` is ISO 8601 in UTC.

    `scores` of a complete search trial or tuning run is its validation score, of a complete
    comparison run those on `validation`, `test` (cleaned) and `test-raw`; then `predictions` are
    what is predicted for each raw test row, of the form of its label. A pruned trial has its last
    validation score, a failed one has none, and a `reason`.
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
    predictions: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    state: RecordState = "complete"
    reason: str = ""
    schema: int = RECORD_SCHEMA

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        return {score.split: score for score in self.scores}[split]


def utc_now() -> str:
    """Return the time now, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class RecordKey(NamedTuple):
    """What two measurements share only if one repeats the other; `model` is `name@commit`."""

    model: str
    start: InitialWeights
    layout: Layout
    seed: int
    budget: Budget
    task: str
    metric: str
    fingerprints: tuple[tuple[str, str], ...]


def record_key(record: Record) -> RecordKey:
    """Return the key of a record's measurement."""
    values = {name: getattr(record, name) for name in RecordKey._fields}
    return RecordKey(**values | {"fingerprints": tuple(sorted(record.fingerprints.items()))})


def count_repeated(records: Iterable[Record]) -> int:
    """Count the measurements that repeat one of the same key and phase, failed ones aside."""
    counts = Counter((r.phase, record_key(r)) for r in records if r.state != "failed")
    return sum(count - 1 for count in counts.values())


def record_to_json(record: Record) -> str:
    """Return the record as one line of JSON, without the line end; exact for every float."""
    entry = dataclasses.asdict(record)
    entry |= {"layout": str(record.layout), "budget": record.budget.to_dict()}
    return json.dumps(entry, allow_nan=False, separators=(",", ":"))


def record_from_json(text: str) -> Record:
    """Read a record from a line of JSON; raises ValueError, with the reason, where it is none."""
    try:
        entry: dict[str, Any] = parse_json(text)
        if entry["schema"] != RECORD_SCHEMA:
            raise ValueError(f"schema {entry['schema']!r} is not {RECORD_SCHEMA}")
        record = Record(
            **entry
            | {
                "layout": Layout.parse(entry["layout"]),
                "budget": Budget.from_dict(entry["budget"]),
                "scores": tuple(Score(**score) for score in entry["scores"]),
                "predictions": read_labels(entry["predictions"]),
                "notes": tuple(entry["notes"]),
            }
        )
        check_value_type(record, Record, "record")
        if record.metric not in METRICS:
            raise ValueError(f"unknown metric {record.metric!r}")
    except Exception as error:  # a line may be damaged in any way
        raise ValueError(first_line(error)) from error
    return record


def read_records(path: Path) -> list[Record]:
    """Read the records, oldest first; none where there is no file yet.

    A last line without its end, cut off while it was written, is left out. A line that is there
    twice counts once. Raises `StudyError`, which names file and line, where another line is no
    record of this schema, or two lines contradict each other.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error
    *lines, last = content.split(b"\n")
    records: dict[int, Record] = {}
    seen: set[bytes] = set()
    for number, line in enumerate(lines, start=1):
        if line in seen:
            continue
        seen.add(line)
        try:
            records[number] = record_from_json(line.decode())
            check_scores(records[number], ("validation",))
        except ValueError as error:
            raise StudyError(
                f"{path} line {number} is not a record of this version: "
                f"{printable(first_line(error)[:120])}"
            ) from error
    if last not in seen:
        records |= {len(lines) + 1: record for record in _unended_record(last)}
    _check_agreement(path, records)
    return list(records.values())


def check_scores(record: Record, splits: Collection[str]) -> None:
    """Raise ValueError where a complete record lacks a score on one of `splits`."""
    present = {score.split for score in record.scores}
    if record.state == "complete" and not present.issuperset(splits):
        raise ValueError(f"it lacks a score on {' or '.join(splits)}")


def read_labels(values: Iterable[Any]) -> tuple[Label, ...]:
    """Return labels read from JSON, which has lists for tuples."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def check_labels(
    found: Sequence[Label], expected: Sequence[Label], names: int, what: str = "prediction"
) -> None:
    """Raise ValueError unless `found` are labels of the form of `expected`, one for each.

    The numbers of classes, or of tags, are below `names`.
    """
    if len(found) != len(expected):
        raise ValueError(f"it has {len(found)} predictions for {len(expected)} test rows")
    forms = {type(label) for label in expected}
    for label, other in zip(found, expected, strict=True) if forms != {int} else ():
        if type(label) is not type(other) and not forms <= {int, float}:
            raise ValueError("a prediction is of another form than the labels")
        if isinstance(label, tuple) and isinstance(other, tuple) and len(label) != len(other):
            raise ValueError("a prediction has another number of values than its label")
    numbers = {n for label in found for n in (label if isinstance(label, tuple) else (label,))}
    if float not in forms and not all(type(n) is int and 0 <= n < names for n in numbers):
        raise ValueError(f"a {what} is none of the {names} labels")


def check_test_record(path: Path, record: Record, labels: Sequence[Label], names: int) -> None:
    """Raise `StudyError` unless a record of `path` has all that a comparison is made of.

    That is its scores, and a prediction for each raw test row with one of `labels`, whose numbers
    are below `names`.
    """
    if record.state != "complete":
        return
    try:
        check_scores(record, ("validation", "test", "test-raw"))
        check_labels(record.predictions, labels, names)
    except ValueError as error:
        raise StudyError(
            f"{path}: the record of {record.origin} {record.layout}, seed {record.seed}, is "
            f"damaged ({error}): delete its line, and run the study's command again"
        ) from None


def _check_agreement(path: Path, records: Mapping[int, Record]) -> None:
    """Raise `StudyError` where two records, by line, give one measurement two results."""
    known: dict[tuple[Phase, RecordKey], int] = {}
    for number, record in records.items():
        if record.state == "failed":  # it may be tried again
            continue
        first = known.setdefault((record.phase, record_key(record)), number)
        if _result(records[first]) != _result(record):
            raise StudyError(
                f"{path} lines {first} and {number} contradict each other, two results of one run "
                f"({record.origin} {record.layout}, seed {record.seed}): delete the wrong line, or "
                "both to have it run again"
            )


def _result(record: Record) -> tuple[object, ...]:
    """Return what must be the same where a run is repeated: all but how long it took."""
    scores = tuple(dataclasses.replace(score, seconds=0.0, note="") for score in record.scores)
    return record.state, scores, record.predictions


def _unended_record(line: bytes) -> list[Record]:
    """Return the record of a last line that lacks only its end, none where more is cut off."""
    try:
        return [record_from_json(line.decode())]
    except ValueError:
        return []


def append_record(path: Path, record: Record) -> None:
    """Add a record as the file's last line, on disk when this returns; folders are made.

    What a killed process left of a last line is removed first. Raises `StudyError` where the file
    cannot be written.
    """
    line = record_to_json(record).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=True)
        with path.open("r+b") as file:
            _repair_end(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error


def _repair_end(file: BinaryIO) -> None:
    """Move to the end of `file` after the last line is ended, or removed where it is cut off."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _unended_record(content[start:]):
        file.write(b"\n")
    else:
        file.truncate(start)
        file.seek(start)


def reuse_shared_runs(
    sources: Iterable[Path], target: Path, models: Collection[str] | None = None
) -> int:
    """Copy the runs of the full model and of rivals to the records `target`; return how many.

    `models` (`name@commit`) are those that the target may need, None for all. Runs that it has
    already, and failed ones, are not copied. Whether a run fits the target's conditions is decided
    by its key, when it is looked for.
    """
    present = {record_key(record) for record in read_records(target)}
    copied = 0
    for source in sources:
        for record in read_records(source):
            if (
                record.phase != "search"
                and record.state == "complete"
                and record.origin not in ORIGINS - {"full"}  # these differ with the layers kept
                and (models is None or record.model in models)
                and record_key(record) not in present
            ):
                append_record(target, record)
                present.add(record_key(record))
                copied += 1
    return copied


RECORDED_PACKAGES = ("autoprune", "torch", "transformers", "optuna")


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on, and of Python."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
