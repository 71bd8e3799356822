"""The grid of a plan: its cells, checked and laid before the first is worked on."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autoprune.encoders.registry import ENCODERS
from autoprune.encoders.registry import find_encoder as find_encoder
from autoprune.errors import OptionError, PlanError, StudyError, UnknownNameError
from autoprune.evaluation.records import Record, read_records
from autoprune.evaluation.study_files import (
    RECORDS_FILE,
    FinishedStudy,
    is_finished_study,
    read_study,
)
from autoprune.experiment.pipeline import run_studies
from autoprune.experiment.progress import ProgressDisplay, format_duration
from autoprune.experiment.result import check_study_paths
from autoprune.experiment.setup import Experiment, build_experiments
from autoprune.experiment.study_store import STUDIES
from autoprune.reproduction.plan import Plan
from autoprune.storage.locks import is_at_work
from autoprune.tasks.registry import find_task as find_task
from autoprune.tasks.task import Columns
from autoprune.training.budget import Budget

MODELS_DIR = "AUTOPRUNE_MODELS_DIR"


@dataclass(frozen=True, slots=True)
class GridCell:
    """A cell of the grid: one study in `folder`; `asked` are the arguments of `lay` for it.

    `model`, `task` and `keep` are as the plan has them.
    """

    model: str
    task: str
    keep: int
    folder: Path
    ground: Experiment
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
        return read_records(self.folder / RECORDS_FILE)


def build_grid(
    plan: Plan,
    models_dir: Path | None,
    data_dir: Path | None,
    workers: int | None,
    device: str,
    trust_remote_code: bool,
) -> list[GridCell]:
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
            grounds = build_experiments(
                keeps=plan.keeps, **asked, trust_remote_code=trust_remote_code, rivals_at=rivals
            )
            for ground in grounds:
                mine = {**asked, "keep": ground.keep, "rivals": rivals.get(ground.keep, [])}
                folder = STUDIES / plan.name / ground.study
                places.append(GridCell(model, task, ground.keep, folder, ground, mine))
    _check_apart(places)
    return places


def finished_cells(place: GridCell, plan: Plan) -> FinishedStudy | None:
    """Return the cell's study if it came to its end as the plan has it, else None."""
    if not is_finished_study(place.folder):
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


def _failed(studied: FinishedStudy) -> set[str]:
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


def select_cells(plan: Plan, places: Sequence[GridCell], only: Sequence[str]) -> list[GridCell]:
    """Return the cells that one of `only` names, all without any.

    Each is `MODEL/TASK/KEEP` with `*` for anything; the end may be left out. Raises `OptionError`
    where one names no cell.
    """

    def named(pattern: str) -> list[GridCell]:
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


def _check_apart(places: Sequence[GridCell]) -> None:
    folders = [place.folder for place in places]
    for place in places:
        if folders.count(place.folder) > 1:
            raise PlanError(
                f"the cells of a plan need different names, two would be {place.folder}: rename "
                "one of the models' folders"
            )


@dataclass(frozen=True, slots=True)
class TimeEstimateOfCell:
    """At most how long a cell takes from now on: `seconds`, at `step` seconds a step."""

    place: GridCell
    step: float
    trials: int
    runs: int
    seconds: float


def estimate_times(places: Sequence[GridCell], plan: Plan) -> list[TimeEstimateOfCell]:
    """Measure a step of each cell on this device; the full model counts once for all its cells."""
    seen: set[tuple[str, str]] = set()
    found = []
    for place in places:
        found.append(_estimate(place, plan, (place.model, place.task) in seen))
        seen.add((place.model, place.task))
    return found


def _estimate(place: GridCell, plan: Plan, full_is_lent: bool) -> TimeEstimateOfCell:
    ground = place.ground
    records = place.records
    step = ground.bench(ground.quick).seconds_per_step(next(iter(ground.strategies.values())))
    trials = max(0, plan.trials - sum(one.phase == "search" for one in records))
    measured = [one for one in records if one.state == "complete"]
    budgets = _budgets(ground, measured)
    made = {
        (one.origin, one.seed)
        for one in measured
        if one.phase == "comparison" and one.budget == budgets.get(one.origin)
    }
    runs = [
        (origin, depth)
        for origin, depth in _entrants(place, full_is_lent)
        for number in range(plan.seeds)
        if (origin, plan.seed + 1 + number) not in made
    ]
    tuned = {(one.origin, one.budget) for one in measured if one.phase == "tuning"}
    runs += [
        (origin, depth)
        for origin, depth in _entrants(place, full_is_lent)
        for budget in (ground.full_budgets if ground.rates else ())
        if (origin, budget) not in tuned
    ]
    passes = sum(depth for _, depth in runs) / ground.keep
    steps = trials * ground.quick.steps + passes * ground.full.steps
    return TimeEstimateOfCell(place, step, trials, len(runs), steps * step / ground.workers)


def _budgets(ground: Experiment, measured: Sequence[Record]) -> dict[str, Budget]:
    """Return the full budget of each origin that has one: of others no rate is chosen yet."""
    if not ground.rates:
        return {one.origin: ground.full for one in measured}
    tried: dict[str, dict[Budget, float]] = {}
    for one in measured:
        if one.phase == "tuning" and one.budget in ground.full_budgets:
            tried.setdefault(one.origin, {})[one.budget] = one.score("validation").quality
    return {
        origin: max(ground.full_budgets, key=qualities.__getitem__)
        for origin, qualities in tried.items()
        if len(qualities) == len(ground.rates)
    }


def _entrants(place: GridCell, full_is_lent: bool) -> Collection[tuple[str, int]]:
    """Return who is compared, each with its number of layers."""
    ground = place.ground
    pruned = [(origin, ground.keep) for origin in ("found", *ground.strategies, "scratch")]
    rivals = [(rival.encoder.name, rival.depth) for rival in ground.rivals]
    full = [] if full_is_lent else [("full", ground.checkpoint.depth)]
    return [*pruned, *rivals, *full]


def run_grid(
    plan: Plan, places: Sequence[GridCell], wanted: Sequence[GridCell], show: ProgressDisplay
) -> None:
    """Bring the `wanted` of all cells to their end; one that another process works on is left.

    What is on file is not measured again. Raises `typer.Exit` where the user stops a search.
    """
    for place in places:
        check_study_paths(place.folder)
    todo = [place for place in wanted if finished_cells(place, plan) is None]
    costs = estimate_times(todo, plan)
    done = len(wanted) - len(todo)
    whole = sum(cost.seconds for cost in costs)
    show.say(
        f"plan {plan.name}: {len(wanted)} cells, {done} done, {len(todo)} to do"
        + (f", at most {format_duration(whole)}" if todo else "")
    )
    elsewhere = _pass(plan, places, costs, show)
    for cost in _pass(plan, places, elsewhere, show):  # its owner may have gone meanwhile
        show.say(f"{cost.place.name}: another process is at work on it")


def _pass(
    plan: Plan,
    places: Sequence[GridCell],
    costs: Sequence[TimeEstimateOfCell],
    show: ProgressDisplay,
) -> list[TimeEstimateOfCell]:
    """Work on the cells that are free; return those that are not."""
    elsewhere: list[TimeEstimateOfCell] = []
    spent = expected = 0.0
    for index, cost in enumerate(costs):
        if is_at_work(cost.place.folder):
            elsewhere.append(cost)
            continue
        if finished_cells(cost.place, plan) is not None:  # by another process, meanwhile
            continue
        pace = spent / expected if expected else 1.0
        left = pace * sum(one.seconds for one in costs[index:])
        number = places.index(cost.place) + 1
        show.say(
            f"cell {number}/{len(places)}: {cost.place.name}; about {format_duration(left)} left"
        )
        began = time.monotonic()
        try:
            _study(plan, places, cost.place, show)
        except StudyError:
            if not is_at_work(cost.place.folder):
                raise
            elsewhere.append(cost)
        else:
            spent += time.monotonic() - began
            expected += cost.seconds
    return elsewhere


def _study(plan: Plan, places: Sequence[GridCell], place: GridCell, show: ProgressDisplay) -> None:
    alike = [one.folder for one in places if one.task == place.task and one != place]
    run_studies(
        [place.ground],
        f"{plan.name}/{place.folder.name}",
        place.asked,
        show,
        trials=plan.trials,
        minutes=None,
        sampler="gp",
        pruner="none",
        proxy="none",
        seed=plan.seed,
        seeds=plan.seeds,
        storage=None,
        quiet=True,
        lenders=alike,
    )
