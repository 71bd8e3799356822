"""What Optuna keeps of a trial in a database, several rows of a table in one transaction.

Optuna's setters look at the trial, and for a parameter at one of another trial, before each row;
for attributes each has a transaction of its own. A trial of 14 layers is 16 parameters and 8
attributes at its end. The tables are Optuna's; opening a storage checks their version.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, column, table, update
from sqlalchemy.dialects import postgresql, sqlite

_TRIALS = table("trials", column("trial_id"), column("state"))
_ATTRIBUTES = table(
    "trial_user_attributes", column("trial_id"), column("key"), column("value_json")
)
_PARAMS = table(
    "trial_params",
    *map(column, ("trial_id", "param_name", "param_value", "distribution_json")),
)


class Rows:
    """Writes rows of one trial, all or none; raises `UpdateFinishedTrialError` as setters do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # The two dialects spell it alike, and mypy knows one type for one name.
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.name]
        attributes = insert(_ATTRIBUTES)
        self._attributes = attributes.on_conflict_do_update(
            index_elements=["trial_id", "key"], set_={"value_json": attributes.excluded.value_json}
        )
        self._params = insert(_PARAMS).on_conflict_do_nothing()

    def attributes(self, trial: int, told: Mapping[str, Any]) -> None:
        """Set user attributes."""
        rows = [{"key": key, "value_json": json.dumps(value)} for key, value in told.items()]
        self._write(trial, self._attributes, rows)

    def params(self, trial: int, given: FrozenTrial) -> None:
        """Set the parameters of `given`, whose distributions are those of all trials there."""
        rows = [
            {
                "param_name": name,
                "param_value": given.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(given.distributions[name]),
            }
            for name, value in given.params.items()
        ]
        self._write(trial, self._params, rows)

    def _write(self, trial: int, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        with self._engine.begin() as connection:
            # A write that changes nothing, so that nobody ends the trial before the commit.
            held = update(_TRIALS).where(_TRIALS.c.trial_id == trial).values(state=_TRIALS.c.state)
            state = connection.execute(held.returning(_TRIALS.c.state)).scalar_one()
            if TrialState[state].is_finished():
                raise UpdateFinishedTrialError(f"trial {trial} has ended")
            connection.execute(statement, [{"trial_id": trial, **row} for row in rows])
