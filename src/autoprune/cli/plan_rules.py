"""The rules of a plan: which keys it may have and what each may hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoprune.errors import PlanError, check_names


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


NAMES = Rule("a list of names, each once", _list_of(lambda one: isinstance(one, str) and bool(one)))
TABLE = Rule("a table", lambda value: isinstance(value, dict))
PLAN = {
    "models": NAMES,
    "tasks": NAMES,
    "keeps": Rule(
        "a list of whole numbers from 1 on, each once",
        _list_of(lambda one: type(one) is int and one > 0),
    ),
    "strategies": NAMES,
    "rivals": TABLE,
    "multilingual": NAMES,
    "trials": _whole(1),
    "seeds": _whole(1, 100),
    "seed": _whole(0, 2**31 - 1),
    "margin": Rule(
        "a number of points above 0, below 100",
        lambda value: type(value) in (int, float) and 0 < value < 100,
    ),
    "budget": TABLE,
}
BUDGET = {
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


def check(
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
