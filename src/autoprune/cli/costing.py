"""Costing: which models of a study or folder are measured, on which texts, and what is said."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from autoprune.artifacts.base import fetch_base
from autoprune.artifacts.costing import Conditions, Cost, Subject, costs
from autoprune.artifacts.onnx_export import INT8, MODEL
from autoprune.cli.past import find_study, ground_of
from autoprune.cli.saving import saved
from autoprune.encoders.encoder import Checkpoint, Encoder
from autoprune.encoders.folder import CONFIG, read_checkpoint
from autoprune.encoders.gain import alarms
from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import find as find_encoder
from autoprune.errors import AutopruneError, OptionError
from autoprune.evidence.studied import read_study
from autoprune.layouts.layout import Layout
from autoprune.scoring.crew import cores
from autoprune.scoring.devices import pick
from autoprune.tasks.reading import read
from autoprune.tasks.registry import find as find_task
from autoprune.tasks.task import Columns, Rows

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
