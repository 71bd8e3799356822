"""A plan: the grid of models, tasks and numbers of layers that a study of the paper runs over."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import PlanError, UnknownNameError, check_names
from autoprune.files import validate_study_name
from autoprune.layouts.strategies import STRATEGIES


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be, in words, and the test of it."""

    words: str
    fits: Callable[[Any], bool]


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return the test of a list, not empty, of different values that fit."""
    return lambda value: (
        isinstance(value, list)
        and bool(value)
        and all(map(fits, value))
        and len(set(value)) == len(value)
    )


def _whole(low: int, high: int = 10**9) -> Rule:
    upto = f"from {low} to {high}" if high < 10**9 else f"from {low} on"
    return Rule(f"a whole number {upto}", lambda value: type(value) is int and low <= value <= high)


def _is_rate(value: Any) -> bool:
    return type(value) is float and 0 < value < 1


NAME_LIST = Rule(
    "a list of names, each once", _list_of(lambda one: isinstance(one, str) and bool(one))
)

NAME_TABLE = Rule("a table", lambda value: isinstance(value, dict))

PLAN_RULES = {
    "models": NAME_LIST,
    "tasks": NAME_LIST,
    "keeps": Rule(
        "a list of whole numbers from 1 on, each once",
        _list_of(lambda one: type(one) is int and one > 0),
    ),
    "strategies": NAME_LIST,
    "rivals": NAME_TABLE,
    "multilingual": NAME_LIST,
    "trials": _whole(1),
    "seeds": _whole(1, 100),
    "seed": _whole(0, 2**31 - 1),
    "margin": Rule(
        "a number of points above 0, below 100",
        lambda value: type(value) in (int, float) and 0 < value < 100,
    ),
    "budget": NAME_TABLE,
}

BUDGET_RULES = {
    "epochs": _whole(1),
    "full_epochs": _whole(1),
    "batch": _whole(1),
    "parts": _whole(1),
    "tokens": _whole(4),
    "learning_rate": Rule("a number between 0 and 1", _is_rate),
    "learning_rates": Rule(
        "a list of two or more numbers between 0 and 1, each once",
        lambda value: _list_of(_is_rate)(value) and len(value) > 1,
    ),
}


def check_plan(
    where: str, table: Mapping[str, Any], rules: Mapping[str, Rule], needed: Iterable[str] = ()
) -> None:
    """Check a table's keys and values; raises `UnknownNameError`, `PlanError` for the first."""
    check_names(f"key in {where}", table, rules)
    for key in needed:
        if key not in table:
            raise PlanError(f"{where} must name its {key}: {rules[key].words}")
    for key, value in table.items():
        if not rules[key].fits(value):
            raise PlanError(f"{key} in {where} must be {rules[key].words}, got {value!r:.60}")


PLANS_FOLDER = Path("studies/plans")

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """What a candidate may spend on a task; None: the task's or the model's own.

    `learning_rates`: each entrant's of the comparison is chosen among them; none: all have one.
    """

    epochs: int = 3
    full_epochs: int | None = None
    batch: int = 32
    parts: int = 1
    tokens: int | None = None
    learning_rate: float | None = None
    learning_rates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A grid: each model on each task with each number of layers kept is a cell.

    `rivals` are small pre-trained models by number of layers; `multilingual` those of `models` that
    know several languages; `margin` how many points below counts as comparable; `spending` is by
    task; `trials`, `seeds` and `seed` as in a search.
    """

    name: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    keeps: tuple[int, ...]
    strategies: tuple[str, ...]
    rivals: Mapping[int, tuple[str, ...]]
    multilingual: tuple[str, ...]
    trials: int
    seeds: int
    seed: int
    margin: float
    spending: Mapping[str, PlanBudget]


def find_plan(name: str) -> Path:
    """Return the file of a plan, a known name or a path that ends in .toml.

    Raises `PlanError`, `UnknownNameError`.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise PlanError(f"a plan is a TOML file, there is none at {name}")
        return Path(name)
    known = known_plans()
    if name not in known:
        raise UnknownNameError("plan", name[:80], known, "(or give a file that ends in .toml)")
    return known[name]


def known_plans() -> dict[str, Path]:
    """Return the plans that go by a name.

    Those of the working folder win over those in the wheel, or in the repository run from.
    """
    places = (_HERE.parents[2] / PLANS_FOLDER, _HERE / "plans", PLANS_FOLDER)
    return {path.stem: path for place in places for path in sorted(place.glob("*.toml"))}


def read_plan(path: Path) -> Plan:
    """Read and check a plan; raises `PlanError`, `UnknownNameError`, `OptionError`."""
    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read plan {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise PlanError(f"a plan is a TOML file, {path} is not: {error}") from error
    validate_study_name(path.stem)  # its studies' folder
    return _plan(path.stem, entry)


def _plan(name: str, entry: dict[str, Any]) -> Plan:
    where = f"plan {name}"
    check_plan(where, entry, PLAN_RULES, needed=("models", "tasks", "keeps"))
    strategies = entry.get("strategies", list(STRATEGIES))
    check_names(f"strategy in {where}", strategies, STRATEGIES)
    multilingual = entry.get("multilingual", [])
    check_names(f"multilingual model in {where}", multilingual, entry["models"])
    rivals = entry.get("rivals", {})
    check_plan(f"{where}, rivals", rivals, dict.fromkeys(map(str, entry["keeps"]), NAME_LIST))
    return Plan(
        name=name,
        models=tuple(entry["models"]),
        tasks=tuple(entry["tasks"]),
        keeps=tuple(entry["keeps"]),
        strategies=tuple(strategies),
        rivals={int(keep): tuple(names) for keep, names in rivals.items()},
        multilingual=tuple(multilingual),
        trials=entry.get("trials", 16),
        seeds=entry.get("seeds", 3),
        seed=entry.get("seed", 0),
        margin=float(entry.get("margin", 1.0)),
        spending=_spending(f"{where}, budget", entry.get("budget", {}), entry["tasks"]),
    )


def _spending(where: str, budget: dict[str, Any], tasks: list[str]) -> dict[str, PlanBudget]:
    """Read `[budget]`, and `[budget.TASK]` where a task has its own."""
    check_plan(where, budget, BUDGET_RULES | dict.fromkeys(tasks, NAME_TABLE))
    common = {key: value for key, value in budget.items() if key in BUDGET_RULES}
    own = {task: budget.get(task, {}) for task in tasks}
    for task, table in own.items():
        check_plan(f"{where}.{task}", table, BUDGET_RULES)
    return {task: _spent(common | table) for task, table in own.items()}


def _spent(table: dict[str, Any]) -> PlanBudget:
    return PlanBudget(**table | {"learning_rates": tuple(sorted(table.get("learning_rates", ())))})
