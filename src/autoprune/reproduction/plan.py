"""Plan: a TOML file that names a grid of models, tasks and numbers of layers to keep."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
)

from autoprune.choices import MAX_TRIALS
from autoprune.errors import AutopruneError, PlanError, UnknownNameError, check_names
from autoprune.experiment.config import (
    MAX_TOML_BYTES,
    BudgetConfig,
    ConfigSection,
    DataConfig,
    DistillationConfig,
    Strategy,
)
from autoprune.files import read_regular, validate_study_name
from autoprune.layouts.strategies import STRATEGIES

PLANS_FOLDER = Path("studies/plans")
PACKAGE_FOLDER = Path(__file__).parent

_Value = TypeVar("_Value")


def _check_distinct(values: tuple[_Value, ...], info: ValidationInfo) -> tuple[_Value, ...]:
    if not values or len(set(values)) < len(values):
        raise PlanError(
            f"{info.field_name} must be a list of one or more different values, got {[*values]!r}"
        )
    return values


Distinct = AfterValidator(_check_distinct)
Name = Annotated[StrictStr, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Distinct]


class Plan(ConfigSection):
    """A grid: each model on each task with each number of layers to keep is a cell.

    `rivals` are small pre-trained models by number of layers. `multilingual` are those of `models`
    that were trained on several languages. `trials`, `seeds` and `seed` are as in a study, and so
    is `race`: without it each entrant has all seeds, as the claims on each of them need.
    `margin` is how many points below another model still count as comparable. `budgets` are by
    task, and so is `data`, how its rows are read (not where); `distillation` is that of all cells.
    """

    name: str
    models: Names
    tasks: Names
    keeps: Annotated[tuple[Annotated[StrictInt, Field(ge=1)], ...], Distinct]
    strategies: Annotated[tuple[Strategy, ...], Distinct] = tuple(STRATEGIES)
    rivals: Mapping[int, Names] = {}
    multilingual: tuple[Name, ...] = ()
    trials: Annotated[StrictInt, Field(ge=1, le=MAX_TRIALS)] = 16
    seeds: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    race: StrictBool = False
    margin: Annotated[StrictFloat, Field(gt=0, lt=100)] = 1.0
    distillation: DistillationConfig = DistillationConfig()
    budgets: Mapping[str, BudgetConfig]
    data: Mapping[str, DataConfig] = {}


# The keys of a plan's file; `budgets` are read from its tables `[budget]` and `[budget.TASK]`.
KEYS = {*Plan.model_fields, "budget"} - {"name", "budgets"}


def known_plans() -> dict[str, Path]:
    """Return the files of the plans that have a name.

    A plan in the working folder replaces one of the same name in the repository or the wheel.
    """
    folders = (PACKAGE_FOLDER.parents[2] / PLANS_FOLDER, PACKAGE_FOLDER / "plans", PLANS_FOLDER)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def find_plan(name: str) -> Path:
    """Return the file of a plan, given as a known name or as a path that ends in .toml.

    Raises `PlanError`, `UnknownNameError`.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise PlanError(f"a plan is a TOML file, there is none at {name}")
        return Path(name)
    plans = known_plans()
    if name not in plans:
        raise UnknownNameError("plan", name[:80], plans, "(or give a file that ends in .toml)")
    return plans[name]


def read_plan(path: Path) -> Plan:
    """Read and check a plan; raises `PlanError`, `UnknownNameError`, `OptionError`."""
    try:
        content = tomllib.loads(read_regular(path, MAX_TOML_BYTES).decode())
    except OSError as error:
        raise PlanError(f"cannot read plan {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested beyond reason
        raise PlanError(f"a plan is a TOML file, {path} is not: {error}") from error
    validate_study_name(path.stem)  # it names the folder of the plan's studies
    where = f"plan {path.stem}"
    check_names(f"key in {where}", content, KEYS)
    for key in ("models", "tasks", "keeps"):
        if key not in content:
            raise PlanError(f"{where} must name its {key}")
    budget = content.pop("budget", {})
    try:
        plan = Plan(**content, name=path.stem, budgets={})
    except AutopruneError as error:
        raise PlanError(f"{where}: {error}") from None
    check_names(f"multilingual model in {where}", plan.multilingual, plan.models)
    check_names(f"key in {where}, data", plan.data, plan.tasks)
    if any(data.data_dir is not None for data in plan.data.values()):
        raise PlanError(f"{where} says how rows are read; where they are, --data-dir says")
    keeps = [str(keep) for keep in plan.keeps]
    check_names(f"key in {where}, rivals", [str(keep) for keep in plan.rivals], keeps)
    return plan.model_copy(update={"budgets": _read_budgets(plan, budget)})


def _read_budgets(plan: Plan, table: Any) -> dict[str, BudgetConfig]:
    """Return the budget of each task: the keys of `[budget]`, then those of `[budget.TASK]`."""
    where = f"plan {plan.name}, budget"
    _check_budget(table, where, plan.tasks)
    common = {key: value for key, value in table.items() if key not in plan.tasks}
    budgets = {}
    for task in plan.tasks:
        own = table.get(task, {})
        _check_budget(own, f"{where}.{task}")
        budgets[task] = BudgetConfig(**common | own)
    return budgets


def _check_budget(table: Any, where: str, tasks: tuple[str, ...] = ()) -> None:
    """Raise an error that says where the mistake is; `tasks` may have tables inside."""
    if not isinstance(table, dict):
        raise PlanError(f"{where} must be a table, got {table!r:.60}")
    check_names(f"key in {where}", table, {*BudgetConfig.model_fields, *tasks})
    try:
        BudgetConfig(**{key: value for key, value in table.items() if key not in tasks})
    except AutopruneError as error:
        raise PlanError(f"{where}: {error}") from None
