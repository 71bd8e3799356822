"""The grid of a plan: its cells, checked and laid before the first is worked on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autoprune.cli.ground import Ground
from autoprune.cli.laying import lay_each
from autoprune.cli.past import STUDIES
from autoprune.cli.plan import Plan
from autoprune.encoders.registry import ENCODERS
from autoprune.encoders.registry import find as find_encoder
from autoprune.errors import OptionError, PlanError, UnknownNameError
from autoprune.evidence.record import Record
from autoprune.evidence.records import read
from autoprune.evidence.studied import RECORDS, Studied, is_finished, read_study
from autoprune.tasks.registry import find as find_task
from autoprune.tasks.task import Columns

MODELS_DIR = "AUTOPRUNE_MODELS_DIR"


@dataclass(frozen=True, slots=True)
class Place:
    """A cell of the grid: one study in `folder`; `asked` are the arguments of `lay` for it.

    `model`, `task` and `keep` are as the plan has them.
    """

    model: str
    task: str
    keep: int
    folder: Path
    ground: Ground
    asked: Mapping[str, Any]

    @property
    def name(self) -> str:
        """How it is told."""
        return f"{self.model} on {self.task}, keep {self.keep}"

    @property
    def path(self) -> str:
        """How the command line names it."""
        return f"{self.model}/{self.task}/{self.keep}"

    @property
    def records(self) -> list[Record]:
        """What is measured of it already."""
        return read(self.folder / RECORDS)


def lay_grid(
    plan: Plan,
    models_dir: Path | None,
    data_dir: Path | None,
    workers: int | None,
    device: str,
    trust_remote_code: bool,
) -> list[Place]:
    """Check and load what all cells need, in the plan's order; raises `AutopruneError`.

    Models are looked for in `models_dir`, or in the folder that AUTOPRUNE_MODELS_DIR names.
    """
    here = _models_place(models_dir)
    sources = {name: _model(name, here) for name in plan.models}
    rivals = {keep: [_model(name, here) for name in names] for keep, names in plan.rivals.items()}
    for task in plan.tasks:
        find_task(task)
    places = []
    for model in plan.models:
        for task in plan.tasks:
            asked: dict[str, Any] = {
                "model": sources[model],
                "task": task,
                "strategies": list(plan.strategies),
                "rivals": [],
                "columns": Columns(),
                "metric": None,
                "data_dir": data_dir,
                "keep_duplicates": False,
                "seed": plan.seed,
                "device": device,
                "method": "full",
                "workers": workers,
                **asdict(plan.spending[task]),
            }
            grounds = lay_each(
                keeps=plan.keeps, **asked, trust_remote_code=trust_remote_code, rivals_at=rivals
            )
            for ground in grounds:
                mine = {**asked, "keep": ground.keep, "rivals": rivals.get(ground.keep, [])}
                folder = STUDIES / plan.name / ground.study
                places.append(Place(model, task, ground.keep, folder, ground, mine))
    _check_apart(places)
    return places


def finished(place: Place, plan: Plan) -> Studied | None:
    """Return the cell's study if it came to its end as the plan has it, else None."""
    if not is_finished(place.folder):
        return None
    studied, ground = read_study(place.folder), place.ground
    setting, prints = studied.setting, ground.splits.fingerprint
    asked = {"train and validation": prints, "test": ground.test.fingerprint}
    same = (
        (setting.quick, setting.full) == (ground.quick, ground.full)
        and setting.rates == ground.rates
        and (setting.commit, setting.keep) == (ground.checkpoint.commit, place.keep)
        and setting.fingerprints == asked
        and len(studied.comparison.seeds) == plan.seeds
        and len(studied.trials) >= plan.trials
        and {*ground.strategies, *(one.encoder.name for one in ground.rivals)}
        <= {row.origin for row in studied.comparison.rows} | _failed(studied)
    )
    return studied if same else None


def _failed(studied: Studied) -> set[str]:
    return {line.partition(" failed")[0] for line in studied.comparison.left_out}


def _models_place(models_dir: Path | None) -> Path | None:
    named = os.environ.get(MODELS_DIR)
    place = models_dir or (Path(named) if named else None)
    if place is not None and not place.is_dir():
        raise OptionError(f"--models-dir (or {MODELS_DIR}) must be a folder, {place} is none")
    return place


def _model(name: str, place: Path | None) -> str:
    """Return what names a model of the plan to `lay`: a folder of `place` comes first."""
    if place is not None and (place / name / "config.json").is_file():
        return str(place / name)
    try:
        find_encoder(name)
    except UnknownNameError as error:
        near = [folder.parent.name for folder in (place or Path()).glob("*/config.json")]
        raise UnknownNameError(
            "model", name[:80], {*ENCODERS, *near}, "(--models-dir names the folder that holds it)"
        ) from error
    return name


def selected(plan: Plan, places: Sequence[Place], only: Sequence[str]) -> list[Place]:
    """Return the cells that one of `only` names, all without any.

    Each is `MODEL/TASK/KEEP` with `*` for anything; the end may be left out. Raises `OptionError`
    where one names no cell.
    """

    def named(pattern: str) -> list[Place]:
        found = [
            place
            for place in places
            if any(fnmatchcase(place.path, each) for each in (pattern, f"{pattern}/*"))
        ]
        if not found:
            raise OptionError(
                f"--only takes MODEL/TASK/KEEP as in plan {plan.name}, such as {places[0].path}, "
                f"got {pattern[:60]!r}"
            )
        return found

    taken = {place.path for pattern in only for place in named(pattern)}
    return [place for place in places if not only or place.path in taken]


def _check_apart(places: Sequence[Place]) -> None:
    folders = [place.folder for place in places]
    for place in places:
        if folders.count(place.folder) > 1:
            raise PlanError(
                f"the cells of a plan need different names, two would be {place.folder}: rename "
                "one of the models' folders"
            )
