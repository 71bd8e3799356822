"""Costing: which models of a study or folder are measured, on which texts, and what is said."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from autoprune.encoders.files import CONFIG, read_checkpoint, silence
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.profiling import alarms
from autoprune.encoders.pruning import keep_layers
from autoprune.encoders.registry import Checkpoint, Encoder
from autoprune.encoders.registry import find as find_encoder
from autoprune.errors import AutopruneError, OptionError
from autoprune.evaluation.costs import CostOf, Costs, write_costs
from autoprune.evaluation.records import installed, now
from autoprune.evaluation.study_files import read_study
from autoprune.experiment.setup import Ground
from autoprune.experiment.study_store import find_study, ground_of
from autoprune.export.base_model import fetch_base
from autoprune.export.cost import Conditions, Cost, Subject, costs
from autoprune.export.onnx import INT8, MODEL
from autoprune.layouts.layout import Layout
from autoprune.tasks.loading import read
from autoprune.tasks.registry import find as find_task
from autoprune.tasks.task import Columns, Rows
from autoprune.training.devices import pick
from autoprune.training.workers import cores


@contextmanager
def saved(
    ground: Ground, layouts: Mapping[str, Layout], rivals: tuple[Checkpoint, ...] = ()
) -> Iterator[list[Subject]]:
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
    ground: Ground, layouts: Mapping[str, Layout], rivals: tuple[Checkpoint, ...], drafts: Path
) -> list[Subject]:
    names, subjects = ground.splits.names, []
    for name, layout in layouts.items():
        model = load_classifier(ground.checkpoint, names, 0)
        keep_layers(model, layout)
        subjects.append(_save(name, model, ground.checkpoint, drafts))
    for rival in rivals:
        model = load_classifier(rival, names, 0)
        subjects.append(_save(rival.encoder.name, model, rival, drafts))
    return subjects


def _save(name: str, model: PreTrainedModel, source: Checkpoint, drafts: Path) -> Subject:
    folder = drafts / str(len(list(drafts.iterdir())))
    with silence():
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)
    encoder = replace(source.encoder, source=str(folder))
    return Subject(
        name, read_checkpoint(encoder, folder, trust_remote_code=source.trust_remote_code)
    )


DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, as it was typed; `threads` None: as many as there are cores."""

    target: str
    batch: int
    device: str
    threads: int | None
    rounds: int
    trust_remote_code: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """The costs, the first being what the others are held against, and what is to be said.

    `study` is the folder of the study that they are of, `layouts` those of its models by name;
    None and none for the folder of a model.
    """

    target: str
    study: Path | None
    layouts: Mapping[str, Layout]
    costs: tuple[Cost, ...]
    under: Conditions
    threads: int
    alarms: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Field:
    """The models to measure; `pruned` is the name of that which comes of the first one."""

    subjects: tuple[Subject, ...]
    pruned: str | None
    rows: Rows
    tokens: int
    notes: tuple[str, ...]
    study: Path | None = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)


def measure(
    wanted: Wanted, against: str | None, task: str | None, data_dir: Path | None
) -> Measured:
    """Measure the models of a study or folder by turns; raises `AutopruneError`."""
    folder = Path(wanted.target).expanduser()
    device = pick(wanted.device)
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


def _measure(wanted: Wanted, device: torch.device, place: _Field) -> Measured:
    torch.set_num_threads(wanted.threads or cores())
    under = Conditions(wanted.batch, wanted.rounds, device, place.tokens)
    found = costs(place.subjects, place.rows, under)
    full = found[0].pace
    small = next((cost.pace for cost in found if cost.name == place.pruned), None)
    return Measured(
        target=wanted.target,
        study=place.study,
        layouts=place.layouts,
        costs=tuple(found),
        under=under,
        threads=torch.get_num_threads(),
        alarms=alarms(full, small, wanted.batch) if full and small else (),
        notes=place.notes,
    )


def _of_folder(
    folder: Path, against: str | None, task: str | None, data_dir: Path | None, trusted: bool
) -> _Field:
    """Return an exported model, its ONNX files, and first what it is held against, if any.

    That is the model `against`, else the base model that the folder's card names.
    """
    encoder = Encoder(folder.resolve().name or "model", str(folder.resolve()))
    own = Subject(encoder.name, read_checkpoint(encoder, folder, trust_remote_code=trusted))
    kinds = {MODEL: "ONNX", INT8: "ONNX int8"}
    subjects = [own] + [
        Subject(f"{own.name}, {kind}", own.checkpoint, folder / file)
        for file, kind in kinds.items()
        if (folder / file).is_file()
    ]
    other, notes = _other(folder, own.name, against, trusted)
    pruned = None
    if other is not None:
        name = other.encoder.name
        whose = "base" if against is None else "against"
        subjects.insert(0, Subject(f"{name} ({whose})" if name == own.name else name, other))
        pruned = own.name if other.depth > own.checkpoint.depth else None
    chosen = find_task(task or DEMO, Columns())
    if task is None:
        notes.append("The texts are those of the built-in demo: name your task with --task.")
    return _Field(
        subjects=tuple(subjects),
        pruned=pruned,
        rows=read(chosen, data_dir).train,
        tokens=chosen.tokens,
        notes=tuple(notes),
    )


def _other(
    folder: Path, name: str, against: str | None, trusted: bool
) -> tuple[Checkpoint | None, list[str]]:
    """Return the model to hold the one in `folder` against, None if none can be had, and notes."""
    if against is not None:
        return fetch(find_encoder(against), trusted), []
    try:
        base = fetch_base(folder, trusted)
    except AutopruneError as error:
        why = " ".join(str(error).split())
        return None, [f"The base model is not shown: {why}; --against names one to compare with."]
    return base, [f"{base.encoder.name} is the base model of {name}, as its card says."]


@contextmanager
def _of_study(wanted: Wanted, data_dir: Path | None) -> Iterator[_Field]:
    """Lend the full model, the recommended layout and the rivals of a finished study, saved."""
    place = find_study(wanted.target)
    comparison = read_study(place).comparison
    ground = ground_of(
        place, data_dir, device=wanted.device, trust_remote_code=wanted.trust_remote_code
    )
    best = comparison.row(comparison.recommended)
    layouts = {"full": Layout.full(best.layout.depth), best.origin: best.layout}
    rivals = {rival.encoder.name: Layout.full(rival.depth) for rival in ground.rivals}
    with saved(ground, layouts, ground.rivals) as subjects:
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


def keep_costs(measured: Measured) -> None:
    """Write what was measured to its study's folder, if it is a study's; raises `StudyError`."""
    if measured.study is None:
        return
    under = measured.under
    costs = Costs(
        measured=now(),
        device=under.machine,
        versions=installed(),
        batch=under.batch,
        rounds=under.rounds,
        tokens=under.tokens,
        models=tuple(_cost_of(one, measured.layouts[one.name]) for one in measured.costs),
        alarms=measured.alarms,
        notes=measured.notes,
    )
    write_costs(measured.study, costs)


def _cost_of(cost: Cost, layout: Layout) -> CostOf:
    assert cost.parameters is not None and cost.flops is not None, "a study's are torch models"
    return CostOf(
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
