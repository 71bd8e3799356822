"""Cost: which models of a study or folder are measured, on which texts, and what it shows."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from autoprune.encoders.config import CONFIG, silence_libraries
from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.profiling import speed_warnings
from autoprune.encoders.pruning import keep_layers
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.encoders.registry import find_encoder as find_encoder
from autoprune.errors import AutopruneError, OptionError, StudyError, first_line, format_count
from autoprune.evaluation.costs import COST_FILE, COST_SCHEMA, Costs, MeasuredCost, write_costs
from autoprune.evaluation.records import installed_versions, utc_now
from autoprune.evaluation.study_files import FinishedStudy, read_study, refuse_later_schema
from autoprune.experiment.config import RunOptions
from autoprune.experiment.result import check_writable
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import find_study, reload_experiment, study_config
from autoprune.export.card_metadata import fetch_base_model, read_export_metadata
from autoprune.export.cost import CostConditions, CostMeasurement, CostSubject, measure_costs
from autoprune.export.formats import (
    MODEL_FORMATS,
    TRANSFORMERS,
    find_formats,
    read_formats_checkpoint,
)
from autoprune.files import is_file, path_exists, validate_study_name
from autoprune.layouts.layout import Layout
from autoprune.tasks.loading import read_splits
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Columns, LabelledRows
from autoprune.training.devices import limited_threads, select_device
from autoprune.training.workers import available_cores

DEFAULT_TASK = "demo"  # its texts are measured where no task is named and no study is found


@dataclass(frozen=True, slots=True)
class CostRequest:
    """What to measure and how, as the user gave it.

    `target` is a study, or the folder of a model; `against` and `task` are for a folder only;
    `columns` are those of the task's files, and `data_dir` is where they are. `threads` None means
    one for each core.
    """

    target: str
    batch: int = 32
    device: str = "auto"
    threads: int | None = None
    rounds: int = 15
    against: str | None = None
    task: str | None = None
    data_dir: Path | None = None
    trust_remote_code: bool = False
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class CostResult:
    """The costs; the others are compared with the first one. `alarms` warn of a missing speed-up.

    `study` is the folder of the study and `layouts` the layouts of its models by name; for the
    folder of a model they are None and empty. `machine` names the device and its threads.
    """

    target: str
    study: Path | None
    layouts: Mapping[str, Layout]
    costs: tuple[CostMeasurement, ...]
    conditions: CostConditions
    machine: str
    threads: int
    alarms: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: seconds, bytes, texts a second."""
        return {
            "target": self.target,
            "date": time.strftime("%Y-%m-%d"),
            "device": self.machine,
            "threads": self.threads,
            "batch": self.conditions.batch,
            "rounds": self.conditions.rounds,
            "tokens": self.conditions.tokens,
            "versions": installed_versions(),
            "models": [asdict(cost) for cost in self.costs],
            "alarms": self.alarms,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class _Subjects:
    """The models to measure and the texts; `pruned` names the pruned form of the first model."""

    subjects: tuple[CostSubject, ...]
    pruned: str | None
    rows: LabelledRows
    tokens: int
    notes: tuple[str, ...]
    study: Path | None = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)


def measure_requested_costs(
    request: CostRequest, studies: Path, study: FinishedStudy | None = None
) -> CostResult:
    """Measure the models of a folder, or of a study below `studies`, in turns.

    `study` is the one at that folder where it was read already. Raises `AutopruneError`.
    """
    folder = Path(request.target).expanduser()
    device = select_device(request.device)
    if request.columns != Columns() and request.task is None:
        raise OptionError("names of columns, such as --text, are for --task: name its file too")
    if is_file(folder / CONFIG):
        return _measure(request, device, _folder_subjects(folder, request, studies))
    for option, value in (("--against", request.against), ("--task", request.task)):
        if value is not None:
            raise OptionError(
                f"{option} is for the folder of a model, and {request.target!r} is none "
                f"(no {CONFIG} there): leave it out for a study"
            )
    folder = study.folder if study else find_study(request.target, studies)
    check_writable(folder / COST_FILE)  # before minutes of measuring
    refuse_later_schema(folder / COST_FILE, COST_SCHEMA)
    with _study_subjects(study or read_study(folder), request) as subjects:
        return _measure(request, device, subjects)


def store_costs(result: CostResult) -> None:
    """Write the costs of a study to its folder; those of a model folder are not stored.

    Raises `StudyError`.
    """
    if result.study is None:
        return
    conditions = result.conditions
    costs = Costs(
        measured=utc_now(),
        device=result.machine,
        versions=installed_versions(),
        batch=conditions.batch,
        rounds=conditions.rounds,
        tokens=conditions.tokens,
        models=tuple(_stored_cost(cost, result.layouts[cost.name]) for cost in result.costs),
        alarms=result.alarms,
        notes=result.notes,
    )
    write_costs(result.study, costs)


@contextmanager
def save_layouts(
    experiment: Experiment, layouts: Mapping[str, Layout], rivals: tuple[EncoderFiles, ...] = ()
) -> Iterator[list[CostSubject]]:
    """Save the model pruned to each of the named layouts, then the rivals, in a temporary folder.

    They have the task's head but are not fine-tuned: their cost does not depend on training. Raises
    `OptionError` where the disk has no room for them.
    """
    with tempfile.TemporaryDirectory(prefix="autoprune-cost-") as folder:
        try:
            subjects = _save_all(experiment, layouts, rivals, Path(folder))
        except OSError as error:
            raise OptionError(
                f"cannot save the models in {folder} ({error.strerror or error}): make room, or "
                "name another place in TMPDIR"
            ) from error
        yield subjects


def _save_all(
    experiment: Experiment,
    layouts: Mapping[str, Layout],
    rivals: tuple[EncoderFiles, ...],
    folder: Path,
) -> list[CostSubject]:
    load, labels, subjects = experiment.problem_type.load_classifier, experiment.splits.names, []
    for name, layout in layouts.items():
        model = load(experiment.checkpoint, labels, 0)
        keep_layers(model, layout)
        subjects.append(_save(name, model, experiment.checkpoint, folder))
    for rival in rivals:
        model = load(rival, labels, 0)
        subjects.append(_save(rival.encoder.name, model, rival, folder))
    return subjects


def _save(name: str, model: PreTrainedModel, source: EncoderFiles, parent: Path) -> CostSubject:
    folder = parent / str(len(list(parent.iterdir())))
    with silence_libraries():
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)
    encoder = replace(source.encoder, source=str(folder))
    return CostSubject(
        name, read_checkpoint(encoder, folder, trust_remote_code=source.trust_remote_code)
    )


def _measure(request: CostRequest, device: torch.device, models: _Subjects) -> CostResult:
    threads = request.threads or available_cores()
    conditions = CostConditions(request.batch, request.rounds, device, models.tokens)
    with limited_threads(threads):
        costs = measure_costs(models.subjects, models.rows, conditions)
        machine = conditions.machine  # it says how many threads there are
    full = costs[0].pace
    pruned = next((cost for cost in costs if cost.name == models.pruned), None)
    alarms: tuple[str, ...] = ()
    if full and pruned and pruned.pace:
        alarms = speed_warnings(full, pruned.pace, request.batch, pruned.gain.median)
    return CostResult(
        target=request.target,
        study=models.study,
        layouts=models.layouts,
        costs=tuple(costs),
        conditions=conditions,
        machine=machine,
        threads=threads,
        alarms=alarms,
        notes=models.notes,
    )


def _folder_subjects(folder: Path, request: CostRequest, studies: Path) -> _Subjects:
    """Return an exported model in all its formats, and first the model to compare it with, if any.

    That is the model `against`, in all its formats too, else the base model that the folder's card
    names. The texts are those of its study below `studies`, unless the user names others.
    """
    trust = request.trust_remote_code
    encoder = Encoder(folder.resolve().name or "model", str(folder.resolve()))
    subjects = _in_formats(encoder.name, read_formats_checkpoint(encoder, folder, trust))
    model = subjects[0]
    study, missing = _study_of_export(folder, studies)
    reference, notes = _reference_model(folder, model.name, request, study)
    pruned = None
    if reference is not None:
        name = reference.encoder.name
        if name == model.name:
            name += " (base)" if request.against is None else " (against)"
        others = [] if request.against is None else _in_formats(name, reference)
        subjects = [CostSubject(name, reference), *others[1:], *subjects]
        pruned = model.name if reference.depth > model.checkpoint.depth else None
    texts = _measured_texts(request, study, missing)
    return _Subjects(
        subjects=tuple(subjects),
        pruned=pruned,
        rows=texts.rows,
        tokens=texts.tokens,
        notes=(*notes, *filter(None, [texts.note])),
    )


def _in_formats(name: str, checkpoint: EncoderFiles) -> list[CostSubject]:
    """Return a model in each format that its folder has, in torch first where it is one."""
    return [
        CostSubject(name, checkpoint)
        if format == TRANSFORMERS
        else CostSubject(f"{name}, {MODEL_FORMATS[format].title}", checkpoint, format, file)
        for format, file in find_formats(checkpoint.folder).items()
    ]


def _study_of_export(folder: Path, studies: Path) -> tuple[FinishedStudy | None, str]:
    """Return the study below `studies` that the model in `folder` comes from, else why not."""
    metadata = read_export_metadata(folder)
    if metadata is None or not metadata.study:
        return None, f"no card in {folder} names its study"
    name = metadata.study
    try:
        validate_study_name(name)  # a card is from anywhere
        if not path_exists(studies / name):
            return None, f"study {name}, which it comes from, is not in {studies} here"
        study = read_study(studies / name)
    except AutopruneError as error:
        return None, f"its study cannot be read: {first_line(error)}"
    if study.setting.commit != metadata.commit:
        return None, f"study {name} in {studies} is of another model"
    return study, ""


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts to measure; `note` says which they are, empty for those that the user named."""

    rows: LabelledRows
    tokens: int
    note: str


def _measured_texts(request: CostRequest, study: FinishedStudy | None, missing: str) -> _Texts:
    """Return the texts of the task given, else of the study, else of the demo.

    `missing` says why there is no study. Raises `OptionError` where there are no texts at all.
    """
    if request.task is not None:
        task = find_task(request.task, request.columns, data_dir=request.data_dir)
        return _Texts(read_splits(task, request.data_dir).train, task.tokens, "")
    if study is not None:
        try:
            return _texts_of_study(study, request.data_dir)
        except AutopruneError as error:
            missing = (
                f"those of study {study.name} cannot be read: {first_line(error)}; --data-dir says "
                "where they are"
            )
    task = find_task(DEFAULT_TASK, Columns())
    remedy = "name your task with --task"
    try:
        rows = read_splits(task).train
    except AutopruneError:
        raise OptionError(f"there are no texts to measure ({missing}): {remedy}") from None
    return _Texts(
        rows, task.tokens, f"The texts are those of the built-in demo ({missing}): {remedy}."
    )


def _texts_of_study(study: FinishedStudy, data_dir: Path | None) -> _Texts:
    """Read the train rows of a study; raises `AutopruneError` where they are others now."""
    config, setting = study_config(study), study.setting
    data = config.data
    folder = data_dir or data.data_dir
    task = find_task(config.task, data.columns, config.metric, config.problem_type, folder)
    splits = read_splits(task, folder, data.keep_duplicates, config.seed, data.merge_labels)
    if splits.fingerprint != setting.fingerprints.get("train and validation"):
        raise StudyError(f"the rows of task {setting.task} have changed")
    note = f"The texts are train rows of {setting.task}, the task of study {study.name}."
    return _Texts(splits.train, setting.full.tokens, note)


def _reference_model(
    folder: Path, name: str, request: CostRequest, study: FinishedStudy | None
) -> tuple[EncoderFiles | None, list[str]]:
    """Return the model to compare the one in `folder` with, None without any, and notes.

    A base model that was a folder is the one that its study names.
    """
    trust = request.trust_remote_code
    if request.against is not None:
        return fetch(find_encoder(request.against), trust), []
    try:
        base = fetch_base_model(folder, trust, study_config(study).model if study else "")
    except AutopruneError as error:
        why = " ".join(str(error).split())
        return None, [f"The base model is not shown: {why}; --against names one to compare with."]
    metadata = read_export_metadata(folder)
    source = "card" if metadata and metadata.base else "study"
    return base, [f"{base.encoder.name} is the base model of {name}, as its {source} says."]


@contextmanager
def _study_subjects(study: FinishedStudy, request: CostRequest) -> Iterator[_Subjects]:
    """Save the full model, the recommended layout and the rivals of a finished study."""
    comparison = study.comparison
    options = RunOptions(device=request.device, trust_remote_code=request.trust_remote_code)
    experiment = reload_experiment(study, options, request.data_dir)
    best = comparison.row(comparison.best)
    layouts = {"full": Layout.full(best.layout.depth), best.origin: best.layout}
    rivals = {rival.encoder.name: Layout.full(rival.depth) for rival in experiment.rivals}
    with save_layouts(experiment, layouts, experiment.rivals) as subjects:
        yield _Subjects(
            subjects=tuple(subjects),
            pruned=best.origin,
            rows=experiment.splits.train,
            tokens=experiment.tokens,
            notes=(
                f"{best.origin} is {best.layout.picture} {best.layout}; a model trained from "
                f"scratch with {format_count(len(best.layout.keep), 'layer')} has its shape, and "
                "so its cost.",
            ),
            study=study.folder,
            layouts=layouts | rivals,
        )


def _stored_cost(cost: CostMeasurement, layout: Layout) -> MeasuredCost:
    assert cost.parameters is not None and cost.flops is not None, "a study's are torch models"
    return MeasuredCost(
        name=cost.name,
        layout=layout,
        parameters=cost.parameters.total,
        embeddings=cost.parameters.embeddings,
        bytes=cost.bytes,
        peak_bytes=cost.peak_bytes,
        latency=cost.latency,
        throughput=cost.throughput,
        gain=cost.gain,
        flops=cost.flops,
    )
