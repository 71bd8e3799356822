"""Grid: the cells of a plan, each a study, checked and loaded before the first is worked on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from autoprune.encoders.registry import ENCODERS, find_encoder
from autoprune.errors import OptionError, PlanError, UnknownNameError
from autoprune.evaluation.records import Record, read_records
from autoprune.evaluation.study_files import (
    RECORDS_FILE,
    FinishedStudy,
    is_finished_study,
    read_study,
)
from autoprune.experiment.config import (
    ComparisonConfig,
    DataConfig,
    RunOptions,
    SearchOptions,
    StudyConfig,
)
from autoprune.experiment.result import check_writable
from autoprune.experiment.setup import Experiment, build_experiments
from autoprune.reproduction.plan import Plan
from autoprune.tasks.registry import find_task

MODELS_DIR = "AUTOPRUNE_MODELS_DIR"


@dataclass(frozen=True, slots=True)
class GridOptions:
    """What a plan does not say: where models and data are, and which cells to work on.

    Models are searched in `models_dir`, or in the folder that AUTOPRUNE_MODELS_DIR names. `only`
    selects cells as `MODEL/TASK/KEEP`, with `*` for anything; the end may be left out, and without
    any all cells are selected.
    """

    models_dir: Path | None
    data_dir: Path | None
    only: tuple[str, ...]
    run: RunOptions


@dataclass(frozen=True, slots=True)
class GridCell:
    """One model on one task with one number of layers to keep: a study in `folder`.

    `model`, `task` and `keep` are as in the plan.
    """

    model: str
    task: str
    keep: int
    folder: Path
    experiment: Experiment

    @property
    def name(self) -> str:
        """The cell's name in messages."""
        return f"{self.model} on {self.task}, keep {self.keep}"

    @property
    def path(self) -> str:
        """The cell's name on the command line."""
        return f"{self.model}/{self.task}/{self.keep}"

    @property
    def records(self) -> list[Record]:
        """What is measured already."""
        return read_records(self.folder / RECORDS_FILE)


@dataclass(frozen=True, slots=True)
class Grid:
    """All cells of a plan in its order, those that are `selected`, and the report's two files."""

    plan: Plan
    cells: tuple[GridCell, ...]
    selected: tuple[GridCell, ...]
    report: Path
    page: Path
    run: RunOptions


def build_grid(plan: Plan, options: GridOptions) -> Grid:
    """Check and load what all cells need; raises `AutopruneError`.

    A report that could not be written is refused now, not after hours of work.
    """
    report = options.run.reports / f"{plan.name}.md"
    page = options.run.reports / f"{plan.name}.html"
    for path in (report, page):
        check_writable(path)
    models_dir = _models_folder(options.models_dir)
    sources = {name: _find_model(name, models_dir) for name in plan.models}
    rivals = {
        keep: tuple(_find_model(name, models_dir) for name in names)
        for keep, names in plan.rivals.items()
    }
    for task in plan.tasks:
        find_task(task)
    search, cells = SearchOptions(trials=plan.trials), list[GridCell]()
    for model, task in product(plan.models, plan.tasks):
        data = plan.data.get(task, DataConfig()).model_copy(update={"data_dir": options.data_dir})
        configs = [
            StudyConfig(
                model=sources[model],
                task=task,
                keep=keep,
                seed=plan.seed,
                data=data,
                budget=plan.budgets[task],
                distillation=plan.distillation,
                comparison=ComparisonConfig(
                    seeds=plan.seeds,
                    race=plan.race,
                    strategies=plan.strategies,
                    rivals=rivals.get(keep, ()),
                ),
                search=search,
            )
            for keep in plan.keeps
        ]
        for experiment in build_experiments(configs, options.run):
            folder = options.run.studies / plan.name / experiment.default_name
            cells.append(GridCell(model, task, experiment.keep, folder, experiment))
    _check_folders(cells)
    return Grid(plan, tuple(cells), _select(plan, cells, options.only), report, page, options.run)


def _distillation_grid(config: Mapping[str, Any]) -> list[Any]:
    settings = config.get("distillation", {})
    return [settings.get(name) for name in ("temperatures", "distill_weights")]


def finished_study(cell: GridCell, plan: Plan) -> FinishedStudy | None:
    """Return the cell's study if it is finished as the plan wants it, else None."""
    if not is_finished_study(cell.folder):
        return None
    study, experiment = read_study(cell.folder), cell.experiment
    metadata, comparison = study.setting, study.comparison
    fingerprints = {
        "train and validation": experiment.splits.fingerprint,
        "test": experiment.test.fingerprint,
    }
    origins = {row.origin for row in comparison.rows}
    origins |= {line.partition(" failed")[0] for line in comparison.left_out}
    is_same = (
        (metadata.quick, metadata.full) == (experiment.quick, experiment.full)
        and metadata.rates == experiment.learning_rates
        and metadata.distillation == experiment.distillation
        and _distillation_grid(study.config) == _distillation_grid(experiment.config.to_dict())
        and (metadata.commit, metadata.keep) == (experiment.checkpoint.commit, cell.keep)
        and metadata.fingerprints == fingerprints
        and comparison.seeds == experiment.schedule.seeds
        and (plan.race or not any(row.stopped for row in comparison.rows))
        and len(study.trials) >= plan.trials
        and origins >= {*experiment.strategies, *(one.encoder.name for one in experiment.rivals)}
    )
    return study if is_same else None


def _models_folder(models_dir: Path | None) -> Path | None:
    variable = os.environ.get(MODELS_DIR)
    folder = models_dir or (Path(variable) if variable else None)
    if folder is not None and not folder.is_dir():
        raise OptionError(f"--models-dir (or {MODELS_DIR}) must be a folder, {folder} is none")
    return folder


def _find_model(name: str, models_dir: Path | None) -> str:
    """Return the folder of a plan's model below `models_dir`, else its name as it is."""
    if models_dir is not None and (models_dir / name / "config.json").is_file():
        return str(models_dir / name)
    try:
        find_encoder(name)
    except UnknownNameError as error:
        folders = {path.parent.name for path in (models_dir or Path()).glob("*/config.json")}
        hint = "(--models-dir names the folder that holds it)"
        raise UnknownNameError("model", name[:80], {*ENCODERS, *folders}, hint) from error
    return name


def _select(plan: Plan, cells: Sequence[GridCell], only: Sequence[str]) -> tuple[GridCell, ...]:
    """Return the cells that match one of `only`; raises `OptionError` where one matches none."""
    selected: set[str] = set()
    for pattern in only:
        matching = {
            cell.path
            for cell in cells
            if fnmatchcase(cell.path, pattern) or fnmatchcase(cell.path, f"{pattern}/*")
        }
        if not matching:
            raise OptionError(
                f"--only takes MODEL/TASK/KEEP as in plan {plan.name}, such as {cells[0].path}, "
                f"got {pattern[:60]!r}"
            )
        selected |= matching
    return tuple(cell for cell in cells if not only or cell.path in selected)


def _check_folders(cells: Sequence[GridCell]) -> None:
    folders = [cell.folder for cell in cells]
    for folder in folders:
        if folders.count(folder) > 1:
            raise PlanError(
                f"the cells of a plan need different names, two would be {folder}: rename one of "
                "the models' folders"
            )
