"""Costing: which models of a study or folder are measured, on which texts, and what is said."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from autoprune.encoders.files import CONFIG, disable_progress_bars, read_checkpoint
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.profiling import speed_warnings
from autoprune.encoders.pruning import keep_layers
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.encoders.registry import find_encoder as find_encoder
from autoprune.errors import AutopruneError, OptionError
from autoprune.evaluation.costs import Costs, MeasuredCost, write_costs
from autoprune.evaluation.records import installed_versions, utc_now
from autoprune.evaluation.study_files import read_study
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import STUDIES, find_study, reload_experiment
from autoprune.export.base_model import hub_base_model
from autoprune.export.cost import CostConditions, CostMeasurement, CostSubject, measure_costs
from autoprune.export.onnx import INT8, MODEL
from autoprune.layouts.layout import Layout
from autoprune.tasks.loading import read_splits
from autoprune.tasks.registry import find_task as find_task
from autoprune.tasks.task import Columns, LabelledRows
from autoprune.training.devices import select_device
from autoprune.training.workers import available_cores


@contextmanager
def save_layouts(
    ground: Experiment, layouts: Mapping[str, Layout], rivals: tuple[EncoderFiles, ...] = ()
) -> Iterator[list[CostSubject]]:
    """Lend the ground's model cut to each of the named layouts, then the rivals, as saved models.

    They have the task's head; what they cost does not depend on training. Raises `OptionError`
    where there is no room for them.
    """
    with tempfile.TemporaryDirectory(prefix="autoprune-cost-") as drafts:
        try:
            subjects = _all(ground, layouts, rivals, Path(drafts))
        except OSError as error:
            raise OptionError(
                f"cannot save the models in {drafts} ({error.strerror or error}): make room, or "
                "name another place in TMPDIR"
            ) from error
        yield subjects


def _all(
    ground: Experiment,
    layouts: Mapping[str, Layout],
    rivals: tuple[EncoderFiles, ...],
    drafts: Path,
) -> list[CostSubject]:
    names, subjects = ground.splits.names, []
    for name, layout in layouts.items():
        model = load_classifier(ground.checkpoint, names, 0)
        keep_layers(model, layout)
        subjects.append(_save(name, model, ground.checkpoint, drafts))
    for rival in rivals:
        model = load_classifier(rival, names, 0)
        subjects.append(_save(rival.encoder.name, model, rival, drafts))
    return subjects


def _save(name: str, model: PreTrainedModel, source: EncoderFiles, drafts: Path) -> CostSubject:
    folder = drafts / str(len(list(drafts.iterdir())))
    with disable_progress_bars():
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)
    encoder = replace(source.encoder, source=str(folder))
    return CostSubject(
        name, read_checkpoint(encoder, folder, trust_remote_code=source.trust_remote_code)
    )


DEMO_TEXTS = "demo"


@dataclass(frozen=True, slots=True)
class CostRequest:
    """What was asked for, as it was typed; `threads` None: as many as there are cores."""

    target: str
    batch: int
    device: str
    threads: int | None
    rounds: int
    trust_remote_code: bool


@dataclass(frozen=True, slots=True)
class CostResult:
    """The costs, the first being what the others are held against, and what is to be said.

    `study` is the folder of the study that they are of, `layouts` those of its models by name;
    None and none for the folder of a model.
    """

    target: str
    study: Path | None
    layouts: Mapping[str, Layout]
    costs: tuple[CostMeasurement, ...]
    under: CostConditions
    threads: int
    alarms: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Field:
    """The models to measure; `pruned` is the name of that which comes of the first one."""

    subjects: tuple[CostSubject, ...]
    pruned: str | None
    rows: LabelledRows
    tokens: int
    notes: tuple[str, ...]
    study: Path | None = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)


def measure_requested_costs(
    wanted: CostRequest, against: str | None, task: str | None, data_dir: Path | None
) -> CostResult:
    """Measure the models of a study or folder by turns; raises `AutopruneError`."""
    folder = Path(wanted.target).expanduser()
    device = select_device(wanted.device)
    if folder.joinpath(CONFIG).is_file():
        alone = _of_folder(folder, against, task, data_dir, wanted.trust_remote_code)
        return _measure(wanted, device, alone)
    for option, value in (("--against", against), ("--task", task)):
        if value is not None:
            raise OptionError(
                f"{option} is for the folder of a model, and {wanted.target!r} is none "
                f"(no {CONFIG} there): leave it out for a study"
            )
    with _of_study(wanted, data_dir) as lent:
        return _measure(wanted, device, lent)


def _measure(wanted: CostRequest, device: torch.device, place: _Field) -> CostResult:
    torch.set_num_threads(wanted.threads or available_cores())
    under = CostConditions(wanted.batch, wanted.rounds, device, place.tokens)
    found = measure_costs(place.subjects, place.rows, under)
    full = found[0].pace
    small = next((cost.pace for cost in found if cost.name == place.pruned), None)
    return CostResult(
        target=wanted.target,
        study=place.study,
        layouts=place.layouts,
        costs=tuple(found),
        under=under,
        threads=torch.get_num_threads(),
        alarms=speed_warnings(full, small, wanted.batch) if full and small else (),
        notes=place.notes,
    )


def _of_folder(
    folder: Path, against: str | None, task: str | None, data_dir: Path | None, trusted: bool
) -> _Field:
    """Return an exported model, its ONNX files, and first what it is held against, if any.

    That is the model `against`, else the base model that the folder's card names.
    """
    encoder = Encoder(folder.resolve().name or "model", str(folder.resolve()))
    own = CostSubject(encoder.name, read_checkpoint(encoder, folder, trust_remote_code=trusted))
    kinds = {MODEL: "ONNX", INT8: "ONNX int8"}
    subjects = [own] + [
        CostSubject(f"{own.name}, {kind}", own.checkpoint, folder / file)
        for file, kind in kinds.items()
        if (folder / file).is_file()
    ]
    other, notes = _other(folder, own.name, against, trusted)
    pruned = None
    if other is not None:
        name = other.encoder.name
        whose = "base" if against is None else "against"
        subjects.insert(0, CostSubject(f"{name} ({whose})" if name == own.name else name, other))
        pruned = own.name if other.depth > own.checkpoint.depth else None
    chosen = find_task(task or DEMO_TEXTS, Columns())
    if task is None:
        notes.append("The texts are those of the built-in demo: name your task with --task.")
    return _Field(
        subjects=tuple(subjects),
        pruned=pruned,
        rows=read_splits(chosen, data_dir).train,
        tokens=chosen.tokens,
        notes=tuple(notes),
    )


def _other(
    folder: Path, name: str, against: str | None, trusted: bool
) -> tuple[EncoderFiles | None, list[str]]:
    """Return the model to hold the one in `folder` against, None if none can be had, and notes."""
    if against is not None:
        return fetch(find_encoder(against), trusted), []
    try:
        base = hub_base_model(folder, trusted)
    except AutopruneError as error:
        why = " ".join(str(error).split())
        return None, [f"The base model is not shown: {why}; --against names one to compare with."]
    return base, [f"{base.encoder.name} is the base model of {name}, as its card says."]


@contextmanager
def _of_study(wanted: CostRequest, data_dir: Path | None) -> Iterator[_Field]:
    """Lend the full model, the recommended layout and the rivals of a finished study, saved."""
    place = find_study(wanted.target, STUDIES)
    comparison = read_study(place).comparison
    ground = reload_experiment(
        place, data_dir, device=wanted.device, trust_remote_code=wanted.trust_remote_code
    )
    best = comparison.row(comparison.recommended)
    layouts = {"full": Layout.full(best.layout.depth), best.origin: best.layout}
    rivals = {rival.encoder.name: Layout.full(rival.depth) for rival in ground.rivals}
    with save_layouts(ground, layouts, ground.rivals) as subjects:
        yield _Field(
            subjects=tuple(subjects),
            pruned=best.origin,
            rows=ground.splits.train,
            tokens=ground.tokens,
            notes=(
                f"{best.origin} is {best.layout.picture} {best.layout}; a model trained from "
                f"scratch with {len(best.layout.keep)} layers has its shape, and so its cost.",
            ),
            study=place,
            layouts=layouts | rivals,
        )


def store_costs(measured: CostResult) -> None:
    """Write what was measured to its study's folder, if it is a study's; raises `StudyError`."""
    if measured.study is None:
        return
    under = measured.under
    costs = Costs(
        measured=utc_now(),
        device=under.machine,
        versions=installed_versions(),
        batch=under.batch,
        rounds=under.rounds,
        tokens=under.tokens,
        models=tuple(_cost_of(one, measured.layouts[one.name]) for one in measured.costs),
        alarms=measured.alarms,
        notes=measured.notes,
    )
    write_costs(measured.study, costs)


def _cost_of(cost: CostMeasurement, layout: Layout) -> MeasuredCost:
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
