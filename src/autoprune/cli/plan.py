"""A plan: the grid of models, tasks and numbers of layers that a study of the paper runs over."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.cli.checks import plain
from autoprune.cli.plan_rules import BUDGET, NAMES, PLAN, TABLE, check
from autoprune.errors import PlanError, UnknownNameError, check_names
from autoprune.layouts.strategies import STRATEGIES

PLANS = Path("studies/plans")
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Spending:
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
    spending: Mapping[str, Spending]


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
    places = (_HERE.parents[2] / PLANS, _HERE / "plans", PLANS)
    return {path.stem: path for place in places for path in sorted(place.glob("*.toml"))}


def read_plan(path: Path) -> Plan:
    """Read and check a plan; raises `PlanError`, `UnknownNameError`, `OptionError`."""
    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read plan {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise PlanError(f"a plan is a TOML file, {path} is not: {error}") from error
    plain(path.stem)  # its studies' folder
    return _plan(path.stem, entry)


def _plan(name: str, entry: dict[str, Any]) -> Plan:
    where = f"plan {name}"
    check(where, entry, PLAN, needed=("models", "tasks", "keeps"))
    strategies = entry.get("strategies", list(STRATEGIES))
    check_names(f"strategy in {where}", strategies, STRATEGIES)
    multilingual = entry.get("multilingual", [])
    check_names(f"multilingual model in {where}", multilingual, entry["models"])
    rivals = entry.get("rivals", {})
    check(f"{where}, rivals", rivals, dict.fromkeys(map(str, entry["keeps"]), NAMES))
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


def _spending(where: str, budget: dict[str, Any], tasks: list[str]) -> dict[str, Spending]:
    """Read `[budget]`, and `[budget.TASK]` where a task has its own."""
    check(where, budget, BUDGET | dict.fromkeys(tasks, TABLE))
    common = {key: value for key, value in budget.items() if key in BUDGET}
    own = {task: budget.get(task, {}) for task in tasks}
    for task, table in own.items():
        check(f"{where}.{task}", table, BUDGET)
    return {task: _spent(common | table) for task, table in own.items()}


def _spent(table: dict[str, Any]) -> Spending:
    return Spending(**table | {"learning_rates": tuple(sorted(table.get("learning_rates", ())))})
