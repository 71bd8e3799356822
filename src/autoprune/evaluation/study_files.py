"""Study files: write a finished study at its end, and read it back for reports and exports."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import StudyError
from autoprune.evaluation.comparison import Comparison, build_comparison
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantMeasurement,
    EntrantSeed,
    Measured,
    MeasurementConditions,
    SeedSchedule,
    fingerprints_with,
)
from autoprune.evaluation.records import (
    ORIGINS,
    Record,
    check_labels,
    check_test_record,
    read_labels,
    read_records,
    record_key,
)
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.files import check_value_type, load_json, path_exists, reading, write_atomic
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import CleaningReport, LabelledRows, TestSplit
from autoprune.training.budget import Budget, Distillation

if TYPE_CHECKING:
    from autoprune.training.checkpoint import CheckpointFile


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """Everything needed to repeat a study, as plain values.

    `commit` is what the model's name resolved to; `labels` are the label names in index order;
    `quick` is the search's budget (None without a search), `full` the comparison's; `cleaned` has a
    report for each split; `command` is the command line as typed; `finished` is ISO 8601 in UTC;
    `rates` are the peak learning rates that each entrant of the comparison was tuned over, none
    where all use that of `full`; `hint` says how well the proxy score that informed the search
    agreed with it, empty without one; `distillation` is what entrants learn from a teacher, with
    the first temperature and weight to choose from, and `unlabelled` the number of texts without
    labels that it teaches as well; `problem_type` says what a label is; `data_notes` say how the
    data were read, `warnings` what is doubtful in them, a sentence each.
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
    data_notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    distillation: Distillation | None = None
    unlabelled: int = 0
    problem_type: str = PROBLEM_TYPE_NAMES[0]


STUDY_SCHEMA = 1

STUDY_FILE = "study.json"

BASELINE_FILE = "baseline.json"

RECORDS_FILE = "records.jsonl"

_LABEL_FORMS: dict[str, tuple[type, ...]] = {
    "single_label_classification": (int,),
    "multi_label_classification": (tuple,),
    "regression": (float, int),
    "token_classification": (tuple,),
}


@dataclass(frozen=True, slots=True)
class FoundLayout:
    """What a search chose: the layout, and the surrogate's mean and std of its quality."""

    layout: Layout
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A finished study read back from its folder: what reports and exports start from.

    `trials` are the search's records in order, none for a baseline; `comparison` is rebuilt from
    the records. `test` has the labels and which rows are kept; its texts are empty unless `texts`,
    because a study's files hold no text of its task. `found`, `mean` and `std` are the search's
    choice, None for a baseline. `config` is what the study is, as JSON values.
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
    config: Mapping[str, Any]

    @property
    def is_beside_search(self) -> bool:
        """Whether this is a baseline in the folder of a finished search, which its name means."""
        return self.found is None and path_exists(self.folder / STUDY_FILE)


def write_study(
    folder: Path,
    config: Mapping[str, Any],
    setting: StudyMetadata,
    entrants: Sequence[Entrant],
    comparison: Comparison,
    test: TestSplit,
    choice: FoundLayout | None,
) -> None:
    """Write what the records lack to `folder`: settings, entrants, test labels; never a text.

    A baseline (no `choice`) has its own file and leaves a search's unchanged. Raises `StudyError`
    where it cannot be written.
    """
    stopped = {row.origin: row.stopped for row in comparison.rows}
    content = {
        "schema": STUDY_SCHEMA,
        "config": dict(config),
        "setting": dataclasses.asdict(setting)
        | {"quick": setting.quick and setting.quick.to_dict(), "full": setting.full.to_dict()},
        "seeds": comparison.seeds,
        "schedule": dataclasses.asdict(comparison.schedule),
        "entrants": [
            {
                "origin": entrant.origin,
                "layout": str(entrant.layout),
                "start": entrant.start,
                "model": entrant.model,
                "parameters": entrant.parameters,
                "learning_rate": entrant.budget.learning_rate,
                "seeds": comparison.runs[entrant.origin],
                "stopped": stopped.get(entrant.origin, ""),
                **_own_budget(entrant.budget, setting.full),
            }
            for entrant in entrants
        ],
        "simple": [dataclasses.asdict(row.model) for row in comparison.simple],
        "choice": choice and {"layout": str(choice.layout), "mean": choice.mean, "std": choice.std},
        "test": {
            "labels": test.rows.labels,
            "kept": list(map(int, test.kept)),
            "cleaned": dataclasses.asdict(test.cleaned),
            "fingerprint": test.fingerprint,
        },
    }
    # A part a line: a number a line would be 70,000 lines for the tags of 2,000 sentences.
    parts = (f'"{name}": {json.dumps(part, ensure_ascii=False)}' for name, part in content.items())
    text = "{\n " + ",\n ".join(parts) + "\n}\n"
    write_atomic(folder / (STUDY_FILE if choice else BASELINE_FILE), text)


def _own_budget(budget: Budget, full: Budget) -> dict[str, Any]:
    """Return the budget of an entrant where more than its learning rate differs from `full`."""
    same = dataclasses.replace(budget, learning_rate=full.learning_rate) == full
    return {} if same else {"budget": budget.to_dict()}


def is_finished_study(folder: Path) -> bool:
    """Return whether a search or a baseline in `folder` came to its end."""
    return path_exists(folder / STUDY_FILE) or path_exists(folder / BASELINE_FILE)


def read_study(folder: Path, file: str | None = None) -> FinishedStudy:
    """Read a study back: from `file`, else the search where there is one, else the baseline.

    Raises `StudyError`.
    """
    path = folder / (file or (STUDY_FILE if path_exists(folder / STUDY_FILE) else BASELINE_FILE))
    kind, remedy = "a study of this version", "run the study's command again"
    try:
        with reading(path, kind, remedy):
            entry = load_json(path, kind, remedy)
            _check_schema(path, entry["schema"], STUDY_SCHEMA)
            if entry["schema"] != STUDY_SCHEMA:
                raise ValueError(f"schema {entry['schema']!r} is not {STUDY_SCHEMA}")
            return _finished_study(folder, entry)
    except FileNotFoundError as error:
        raise StudyError(
            f"no finished study in {folder}: run `autoprune search` or `baseline` to its end"
        ) from error


def refuse_later_schema(path: Path, schema: int) -> None:
    """Raise `StudyError` where the JSON file `path` was written by a later version of autoprune.

    What cannot be read at all is not refused: it may be replaced.
    """
    try:
        found = load_json(path, "JSON", "replace it")["schema"]
    except (FileNotFoundError, StudyError, LookupError, TypeError):
        return
    _check_schema(path, found, schema)


def _check_schema(path: Path, found: object, schema: int) -> None:
    if isinstance(found, int) and found > schema:
        raise StudyError(
            f"{path} has schema {found}, this autoprune writes schema {schema}: use the version "
            "that wrote it, or another --study name"
        )


def with_test_texts(study: FinishedStudy, test: TestSplit) -> FinishedStudy:
    """Return the study with the texts of `test`; raises `StudyError` if it is another split."""
    if test.fingerprint != study.test.fingerprint or test.kept != study.test.kept:
        raise StudyError(
            f"the test rows of study {study.name} differ from those it was run on: "
            "give the data it was run on with --data-dir"
        )
    return dataclasses.replace(study, test=test, texts=True)


def _finished_study(folder: Path, entry: dict[str, Any]) -> FinishedStudy:
    setting, test = _metadata(entry["setting"]), _test_split(entry["test"])
    entrants = [_entrant(fields, setting.full) for fields in entry["entrants"]]
    seeds = tuple(map(int, entry["seeds"]))
    schedule = _schedule(entry["schedule"]) if "schedule" in entry else SeedSchedule(seeds)
    # In version 0.1.0 every entrant had all seeds.
    numbers = [int(fields.get("seeds", len(seeds))) for fields in entry["entrants"]]
    stopped = {fields["origin"]: str(fields.get("stopped", "")) for fields in entry["entrants"]}
    records = read_records(folder / RECORDS_FILE)
    check_value_type(setting, StudyMetadata, "setting")
    check_value_type(test, TestSplit, "test")
    forms = _LABEL_FORMS.get(setting.problem_type, ())
    if not all(isinstance(label, forms) for label in test.rows.labels):
        raise ValueError(f"the test labels are not those of {setting.problem_type}")
    check_labels(test.rows.labels, test.rows.labels, max(2, len(setting.labels)), "test label")
    if len(test.kept) != len(test.rows.labels):
        raise ValueError(f"{len(test.rows.labels)} test labels, {len(test.kept)} marks of rows")
    conditions = MeasurementConditions(
        setting.task,
        setting.metric,
        fingerprints_with(test, setting.fingerprints),
        setting.versions,
        setting.device,
    )
    runs = [
        (entrant, seed)
        for place, seed in enumerate(seeds)
        for entrant, number in zip(entrants, numbers, strict=True)
        if place < number
    ]
    found_records = _find_records(folder / RECORDS_FILE, runs, conditions, records)
    measured = Measured(schedule, seeds, found_records, stopped)
    for record in found_records.values():
        names = max(2, len(setting.labels))
        check_test_record(folder / RECORDS_FILE, record, test.rows.labels, names)
    # Version 0.1.0 had no simple models.
    simple = [_simple_model(fields) for fields in entry.get("simple", ())]
    for model in simple:
        check_value_type(model, SimpleModel, "simple")
        check_labels(model.predictions, test.rows.labels, max(2, len(setting.labels)))
    choice, quick = entry["choice"], setting.quick and setting.quick.whole()
    study = FinishedStudy(
        name=folder.resolve().name,
        folder=folder,
        setting=setting,
        trials=tuple(
            record
            for record in records
            if record.phase == "search" and record.budget.whole() == quick
        ),
        comparison=build_comparison(entrants, measured, test, setting.metric, simple),
        test=test,
        texts=False,
        found=Layout.parse(choice["layout"]) if choice else None,
        mean=float(choice["mean"]) if choice else None,
        std=float(choice["std"]) if choice else None,
        config=entry["config"] if "config" in entry else entry["asked"],  # in version 0.1.0
    )
    for row in study.comparison.rows:
        try:
            entrant_runs(study, row.origin)
        except KeyError:
            raise ValueError(f"no record is of {row.origin} with the model that is named") from None
    return study


def _find_records(
    path: Path,
    runs: Sequence[EntrantSeed],
    conditions: MeasurementConditions,
    records: Sequence[Record],
) -> EntrantMeasurement:
    """Find the record of every run: the complete one, else the last that failed."""
    known = {
        record_key(record): record
        for state in ("failed", "complete")
        for record in records
        if record.phase == "comparison" and record.state == state
    }
    measured: EntrantMeasurement = {}
    for entrant, seed in runs:
        key = entrant.key(seed, conditions)
        if key not in known:
            raise StudyError(
                f"{path} lacks {entrant.origin} with seed {seed}: run the study's command again"
            )
        measured[entrant.origin, seed] = known[key]
    return measured


def _schedule(entry: dict[str, Any]) -> SeedSchedule:
    return SeedSchedule(tuple(map(int, entry["seeds"])), int(entry["least"]), bool(entry["race"]))


def _metadata(entry: dict[str, Any]) -> StudyMetadata:
    return StudyMetadata(
        **entry
        | {
            "labels": tuple(entry["labels"]),
            "quick": entry["quick"] and Budget.from_dict(entry["quick"]),
            "full": Budget.from_dict(entry["full"]),
            "rates": tuple(map(float, entry.get("rates", ()))),
            "cleaned": tuple(CleaningReport(**fields) for fields in entry["cleaned"]),
            "data_notes": tuple(map(str, entry.get("data_notes", ()))),
            "warnings": tuple(map(str, entry.get("warnings", ()))),
            "distillation": Distillation(**entry["distillation"])
            if entry.get("distillation")
            else None,
        }
    )


def _test_split(entry: dict[str, Any]) -> TestSplit:
    labels = read_labels(entry["labels"])
    return TestSplit(
        rows=LabelledRows(("",) * len(labels), labels),
        kept=tuple(map(bool, entry["kept"])),
        cleaned=CleaningReport(**entry["cleaned"]),
        fingerprint=str(entry["fingerprint"]),
    )


def _entrant(entry: dict[str, Any], full: Budget) -> Entrant:
    # Older files have no learning rate: all entrants used that of `full`.
    rate = float(entry.get("learning_rate", full.learning_rate))
    budget = Budget.from_dict(entry["budget"]) if "budget" in entry else full
    origin = str(entry["origin"])
    check_value_type(entry["parameters"], int, "parameters")
    return Entrant(
        origin=origin,
        layout=Layout.parse(entry["layout"]),
        start=entry["start"],
        model=str(entry["model"]),
        parameters=entry["parameters"],
        budget=dataclasses.replace(budget, learning_rate=rate),
        begin=_refuse_to_run,
        validate=_refuse_to_run,
    )


def _simple_model(entry: dict[str, Any]) -> SimpleModel:
    return SimpleModel(**entry | {"predictions": read_labels(entry["predictions"])})


def _refuse_to_run(seed: int, _: "CheckpointFile") -> Callable[[], Any]:
    raise AssertionError(f"the study is finished, seed {seed} is not run again")


def entrant_runs(study: FinishedStudy, origin: str) -> dict[int, Record]:
    """Return the complete records of one entrant by seed, in the order of the seeds.

    Entrants of one layout share their records, so the records are found by what they measured, not
    by their origin. Raises KeyError where `origin` was left out or did not enter.
    """
    comparison, setting = study.comparison, study.setting
    layout, is_rival = comparison.row(origin).layout, origin not in ORIGINS
    model = f"{setting.model}@{setting.commit}"
    start = "random" if origin == "scratch" else "pretrained"
    by_seed = {
        record.seed: record
        for record in comparison.records
        if (record.layout, record.start, record.state) == (layout, start, "complete")
        and (record.model.rpartition("@")[0] == origin if is_rival else record.model == model)
    }
    return {seed: by_seed[seed] for seed in comparison.seeds[: comparison.runs[origin]]}
