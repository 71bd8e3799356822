"""Database: Optuna's `RDBStorage`, with the slow operations of a search written as SQL statements.

Optuna works with objects: it reads one table at a time, sends a query before each row it writes,
and commits each attribute alone. A trial of 14 layers has 14 parameters and some 15 attributes, and
each worker reads the trials of all others. The tables are Optuna's; opening a storage checks their
version.
"""

import copy
import json
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from autoprune.storage.optuna_internals import (
    INTERMEDIATE_VALUES,
    PARAMS,
    STUDIES,
    STUDY_NOT_FOUND,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    RDBStorageHooks,
    intermediate_value_from_stored,
    intermediate_value_to_stored,
    value_from_stored,
    value_to_stored,
    with_trial_id,
)

_BATCH = 500  # ids in one query; SQLite allows at least 999


class BatchedRDBStorage(RDBStorageHooks):
    """An `RDBStorage` that reads, creates and closes trials in a few statements each."""

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return a study's trials above an id, and those included, by id; raises `KeyError`."""
        above = trial_id_greater_than
        with self.engine.connect() as connection:
            _find_study(connection, study_id)
            conditions = [TRIALS.c.trial_id > above]
            below = sorted(trial_id for trial_id in included_trial_ids if trial_id <= above)
            conditions += [TRIALS.c.trial_id.in_(batch) for batch in _batches(below)]
            query = select(TRIALS).where(TRIALS.c.study_id == study_id, or_(*conditions))
            rows = connection.execute(query.order_by(TRIALS.c.trial_id)).all()
            rows = [row for row in rows if states is None or row.state in states]
            return _read_trials(connection, rows)

    def insert_trial(self, study_id: int, template: FrozenTrial | None = None) -> FrozenTrial:
        """Create a trial in one transaction; raises KeyError if there is no such study."""
        if template is None or template.values or template.intermediate_values:
            return super().insert_trial(study_id, template)
        with self.engine.begin() as connection:
            _find_study(connection, study_id, lock=True)  # so that numbers rise with ids
            number = select(func.count()).where(TRIALS.c.study_id == study_id).scalar_subquery()
            statement = insert(TRIALS).values(
                study_id=study_id,
                number=number,
                state=template.state,
                datetime_start=_to_utc(template.datetime_start),
                datetime_complete=_to_utc(template.datetime_complete),
            )
            created = connection.execute(
                statement.returning(TRIALS.c.trial_id, TRIALS.c.number)
            ).one()
            for table, rows in (
                (PARAMS, _param_rows(template)),
                (USER_ATTRIBUTES, _attribute_rows(template.user_attrs)),
                (SYSTEM_ATTRIBUTES, _attribute_rows(template.system_attrs)),
            ):
                _insert(connection, table, created.trial_id, rows)
        trial = with_trial_id(copy.deepcopy(template), created.trial_id)
        trial.number = created.number
        return trial

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Set user attributes, all or none; raises `UpdateFinishedTrialError`."""
        with self.engine.begin() as connection:
            self._write_attributes(connection, trial_id, attributes)

    def close_trial(
        self,
        trial_id: int,
        attributes: Mapping[str, Any],
        state: TrialState,
        value: float | None,
        intermediate_values: Mapping[int, float],
    ) -> None:
        """Set attributes, values and final state at once; raises `UpdateFinishedTrialError`."""
        with self.engine.begin() as connection:
            self._write_attributes(connection, trial_id, attributes)
            rows = [_intermediate_row(*item) for item in intermediate_values.items()]
            _insert(connection, INTERMEDIATE_VALUES, trial_id, rows)
            if value is not None:
                stored, kind = value_to_stored(value)
                row = {"objective": 0, "value": stored, "value_type": kind}
                _insert(connection, VALUES, trial_id, [row])
            statement = update(TRIALS).where(TRIALS.c.trial_id == trial_id)
            connection.execute(
                statement.values(state=state, datetime_complete=_to_utc(datetime.now()))
            )

    def _write_attributes(
        self, connection: Connection, trial_id: int, attributes: Mapping[str, Any]
    ) -> None:
        rows = [{"trial_id": trial_id, **row} for row in _attribute_rows(attributes)]
        # A write that changes nothing locks the trial until the commit, in SQLite too.
        lock = update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(state=TRIALS.c.state)
        state = connection.execute(lock.returning(TRIALS.c.state)).scalar_one()
        if state.is_finished():
            raise UpdateFinishedTrialError(f"trial {trial_id} has ended")
        # Both dialects have the same methods, but mypy knows no type for both.
        dialects: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
        statement = dialects[self.engine.name](USER_ATTRIBUTES)
        statement = statement.on_conflict_do_update(
            index_elements=["trial_id", "key"],
            set_={"value_json": statement.excluded.value_json},
        )
        connection.execute(statement, rows)


def _read_trials(connection: Connection, rows: Sequence[Any]) -> list[FrozenTrial]:
    """Return the trials of some rows of the trial table, with what other tables hold of them."""
    ids = [row.trial_id for row in rows]
    params = _rows_by_trial(connection, PARAMS, ids, PARAMS.c.param_id)
    values = _rows_by_trial(connection, VALUES, ids, VALUES.c.objective)
    user_attrs = _rows_by_trial(connection, USER_ATTRIBUTES, ids)
    system_attrs = _rows_by_trial(connection, SYSTEM_ATTRIBUTES, ids)
    intermediate = _rows_by_trial(connection, INTERMEDIATE_VALUES, ids)
    trials = []
    for row in rows:
        key = row.trial_id
        space = {param.param_name: _distribution(param.distribution_json) for param in params[key]}
        trial = FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[value_from_stored(value.value, value.value_type) for value in values[key]]
            or None,
            datetime_start=_to_local(row.datetime_start),
            datetime_complete=_to_local(row.datetime_complete),
            params={
                param.param_name: space[param.param_name].to_external_repr(param.param_value)
                for param in params[key]
            },
            distributions=space,
            user_attrs={attr.key: json.loads(attr.value_json) for attr in user_attrs[key]},
            system_attrs={attr.key: json.loads(attr.value_json) for attr in system_attrs[key]},
            intermediate_values={
                value.step: intermediate_value_from_stored(
                    value.intermediate_value, value.intermediate_value_type
                )
                for value in intermediate[key]
            },
            trial_id=key,
        )
        trials.append(trial)
    return trials


def _rows_by_trial(
    connection: Connection, table: Table, trial_ids: Sequence[int], *order: Any
) -> Mapping[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for batch in _batches(trial_ids):
        query = select(table).where(table.c.trial_id.in_(batch)).order_by(*order)
        for row in connection.execute(query):
            found[row.trial_id].append(row)
    return found


def _batches(trial_ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (trial_ids[start : start + _BATCH] for start in range(0, len(trial_ids), _BATCH))


def _find_study(connection: Connection, study_id: int, lock: bool = False) -> None:
    """Raise KeyError if a study is missing; with `lock`, lock its row until the commit."""
    query = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
    if connection.execute(query.with_for_update() if lock else query).first() is None:
        raise KeyError(STUDY_NOT_FOUND)


def _insert(
    connection: Connection, table: Table, trial_id: int, rows: Sequence[dict[str, Any]]
) -> None:
    if rows:
        connection.execute(insert(table), [{"trial_id": trial_id, **row} for row in rows])


def _attribute_rows(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _intermediate_row(step: int, quality: float) -> dict[str, Any]:
    value, kind = intermediate_value_to_stored(quality)
    return {"step": step, "intermediate_value": value, "intermediate_value_type": kind}


def _param_rows(template: FrozenTrial) -> list[dict[str, Any]]:
    return [
        {
            "param_name": name,
            "param_value": template.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(template.distributions[name]),
        }
        for name, value in template.params.items()
    ]


@lru_cache(maxsize=1_000)
def _distribution(json_text: str) -> BaseDistribution:
    return json_to_distribution(json_text)


def _to_utc(time: datetime | None) -> datetime | None:
    """Return local time as the tables store it: in UTC, without a time zone."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _to_local(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
