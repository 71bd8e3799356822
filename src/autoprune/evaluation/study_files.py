"""A finished study on disk: written at its end, read back by all that is made from it later."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import AutopruneError, StudyError
from autoprune.evaluation.comparison import Comparison, build_comparison
from autoprune.evaluation.entrants import Entrant, EntrantMeasurement, fingerprints_with
from autoprune.evaluation.records import Record, read_records, record_identity, record_key
from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import CleaningReport, Columns, LabelledRows, TestSplit
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import CheckpointFile


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """Everything needed to repeat a study, as plain values.

    `commit` is what the model's name resolved to; `labels` the label names in index order;
    `quick` the search's budget (None without a search) and `full` the comparison's; `cleaned`
    tells of each split; `command` is the command line as typed; `finished` ISO 8601 in UTC;
    `rates` are the peak learning rates that each entrant of the comparison was tuned over, none
    where all have that of `full`; `hint` what became known of the cheap score that informed the
    search, empty without one.
    """

    model: str
    commit: str
    task: str
    labels: tuple[str, ...]
    metric: str
    depth: int
    keep: int
    quick: Budget | None
    full: Budget
    cleaned: tuple[CleaningReport, ...]
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    command: str
    finished: str
    hint: str = ""
    rates: tuple[float, ...] = ()


STUDY_SCHEMA = 1

STUDY_FILE = "study.json"

BASELINE_FILE = "baseline.json"

RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True, slots=True)
class FoundLayout:
    """What a search chose: the layout, and how good the surrogate takes it to be (mean, std)."""

    layout: Layout
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A finished study read back from its folder: all that a report starts from.

    `trials` are the search's records in order, none for a baseline; `comparison` is rebuilt from
    the records. `test` has labels and which rows are kept; its texts are empty unless `texts`, for
    a study holds no text of its task. `found`, `mean` and `std` are the search's choice, None for
    a baseline. `asked` is what the study was started with, as plain values.
    """

    name: str
    folder: Path
    setting: StudyMetadata
    trials: tuple[Record, ...]
    comparison: Comparison
    test: TestSplit
    texts: bool
    found: Layout | None
    mean: float | None
    std: float | None
    asked: Mapping[str, Any]


def write_study(
    folder: Path,
    asked: Mapping[str, Any],
    setting: StudyMetadata,
    entrants: Sequence[Entrant],
    comparison: Comparison,
    test: TestSplit,
    choice: FoundLayout | None,
) -> None:
    """Write what the records lack to `folder`: settings, entrants, test labels; never a text.

    A baseline (no `choice`) has a file of its own and leaves a search's as it is. Raises
    `StudyError` where it cannot be written.
    """
    content = {
        "schema": STUDY_SCHEMA,
        "asked": dict(asked),
        "setting": dataclasses.asdict(setting)
        | {"quick": setting.quick and setting.quick.to_dict(), "full": setting.full.to_dict()},
        "seeds": comparison.seeds,
        "entrants": [
            {
                "origin": entrant.origin,
                "layout": str(entrant.layout),
                "start": entrant.start,
                "model": entrant.model,
                "parameters": entrant.parameters,
                "learning_rate": entrant.budget.learning_rate,
            }
            for entrant in entrants
        ],
        "choice": choice and {"layout": str(choice.layout), "mean": choice.mean, "std": choice.std},
        "test": {
            "labels": test.rows.labels,
            "kept": list(map(int, test.kept)),
            "cleaned": dataclasses.asdict(test.cleaned),
            "fingerprint": test.fingerprint,
        },
    }
    text = json.dumps(content, ensure_ascii=False, indent=1, default=_plain)
    write_atomic(folder / (STUDY_FILE if choice else BASELINE_FILE), text + "\n")


def _plain(value: object) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Columns) else str(value)


def is_finished_study(folder: Path) -> bool:
    """Tell whether a search or a baseline in `folder` came to its end."""
    return (folder / STUDY_FILE).is_file() or (folder / BASELINE_FILE).is_file()


def read_study(folder: Path) -> FinishedStudy:
    """Read a study back, the search where there is one, else the baseline; raises `StudyError`."""
    path = folder / (STUDY_FILE if (folder / STUDY_FILE).is_file() else BASELINE_FILE)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry["schema"] != STUDY_SCHEMA:
            raise ValueError(f"schema {entry['schema']!r} is not {STUDY_SCHEMA}")
        return _studied(folder, entry)
    except FileNotFoundError as error:
        raise StudyError(
            f"no finished study in {folder}: run `autoprune search` or `baseline` to its end"
        ) from error
    except StudyError:
        raise
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, AutopruneError) as error:
        raise StudyError(
            f"a study must be as this version wrote it, {path} is not ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]!a}): run the study's command again"
        ) from error


def with_test_texts(studied: FinishedStudy, test: TestSplit) -> FinishedStudy:
    """Return the study with the texts of its test split; raises `StudyError` if it is another."""
    if test.fingerprint != studied.test.fingerprint or test.kept != studied.test.kept:
        raise StudyError(
            f"the test rows of study {studied.name} must be those it was run on, these differ: "
            "name the data it was run on with --data-dir"
        )
    return dataclasses.replace(studied, test=test, texts=True)


def _studied(folder: Path, entry: dict[str, Any]) -> FinishedStudy:
    setting, test = _setting(entry["setting"]), _test(entry["test"])
    entrants = [_entrant(one, setting.full) for one in entry["entrants"]]
    seeds = tuple(map(int, entry["seeds"]))
    records = read_records(folder / RECORDS_FILE)
    if len(test.kept) != len(test.rows.labels):
        raise ValueError(f"{len(test.rows.labels)} test labels, {len(test.kept)} marks of rows")
    measured = _measured(folder, records, entrants, seeds, setting, test)
    choice, quick = entry["choice"], setting.quick and setting.quick.whole()
    return FinishedStudy(
        name=folder.resolve().name,
        folder=folder,
        setting=setting,
        trials=tuple(
            record
            for record in records
            if record.phase == "search" and record.budget.whole() == quick
        ),
        comparison=build_comparison(entrants, seeds, test, setting.metric, measured),
        test=test,
        texts=False,
        found=Layout.parse(choice["layout"]) if choice else None,
        mean=float(choice["mean"]) if choice else None,
        std=float(choice["std"]) if choice else None,
        asked=entry["asked"],
    )


def _measured(
    folder: Path,
    records: Sequence[Record],
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    setting: StudyMetadata,
    test: TestSplit,
) -> EntrantMeasurement:
    """Find the record of every entrant and seed: the complete one, else the last that failed."""
    known = {
        record_key(record): record
        for state in ("failed", "complete")
        for record in records
        if record.phase == "comparison" and record.state == state
    }
    own = {name: text for name, text in setting.fingerprints.items() if name != "test"}
    prints = fingerprints_with(test, own)
    measured: EntrantMeasurement = {}
    for seed in seeds:
        for one in entrants:
            wanted = record_identity(
                one.model,
                one.start,
                one.layout,
                seed,
                one.budget,
                setting.task,
                setting.metric,
                prints,
            )
            if wanted not in known:
                raise StudyError(
                    f"the records of a finished study hold every run, {folder / RECORDS_FILE} lacks "
                    f"{one.origin} with seed {seed}: run the study's command again"
                )
            measured[one.origin, seed] = known[wanted]
    return measured


def _setting(entry: dict[str, Any]) -> StudyMetadata:
    return StudyMetadata(
        **entry
        | {
            "labels": tuple(entry["labels"]),
            "quick": entry["quick"] and Budget.from_dict(entry["quick"]),
            "full": Budget.from_dict(entry["full"]),
            "rates": tuple(map(float, entry.get("rates", ()))),
            "cleaned": tuple(CleaningReport(**one) for one in entry["cleaned"]),
        }
    )


def _test(entry: dict[str, Any]) -> TestSplit:
    labels = tuple(map(int, entry["labels"]))
    return TestSplit(
        rows=LabelledRows(("",) * len(labels), labels),
        kept=tuple(map(bool, entry["kept"])),
        cleaned=CleaningReport(**entry["cleaned"]),
        fingerprint=str(entry["fingerprint"]),
    )


def _entrant(entry: dict[str, Any], full: Budget) -> Entrant:
    rate = float(entry.get("learning_rate", full.learning_rate))  # older ones have but one
    return Entrant(
        origin=str(entry["origin"]),
        layout=Layout.parse(entry["layout"]),
        start=entry["start"],
        model=str(entry["model"]),
        parameters=int(entry["parameters"]),
        budget=dataclasses.replace(full, learning_rate=rate),
        begin=_over,
        validate=_over,
    )


def _over(seed: int, _: CheckpointFile) -> Callable[[], Any]:
    raise AssertionError(f"the study is over, seed {seed} is not run again")


_OF_THE_MODEL = {"found", "full", *STRATEGIES}


def entrant_runs(studied: FinishedStudy, origin: str) -> dict[int, Record]:
    """Return the complete records of one entrant by seed, in the order of the seeds.

    Entrants of one layout share their records, so they are found by what they are, not by the
    origin in the record. Raises KeyError where `origin` was left out or did not enter.
    """
    comparison, setting = studied.comparison, studied.setting
    layout = comparison.row(origin).layout
    rival = origin not in _OF_THE_MODEL and origin != "scratch"
    own = f"{setting.model}@{setting.commit}"
    start = "random" if origin == "scratch" else "pretrained"
    by_seed = {
        record.seed: record
        for record in comparison.records
        if (record.layout, record.start, record.state) == (layout, start, "complete")
        and (record.model.rpartition("@")[0] == origin if rival else record.model == own)
    }
    return {seed: by_seed[seed] for seed in comparison.seeds}
