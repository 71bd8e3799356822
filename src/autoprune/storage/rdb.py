"""Optuna's database, with what a search asks for at every trial read and written by rows.

Optuna's own way is by objects: a table at a time, a query before each row that is written, a
transaction for each attribute. A trial of 14 layers is 16 parameters and 8 attributes, and each
worker reads the trials of all others. The tables are Optuna's; opening a storage checks their
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
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

_STUDIES: Any = models.StudyModel.__table__

_TRIALS: Any = models.TrialModel.__table__

_PARAMS: Any = models.TrialParamModel.__table__

_VALUES: Any = models.TrialValueModel.__table__

_NOTES: Any = models.TrialUserAttributeModel.__table__

_SYSTEM: Any = models.TrialSystemAttributeModel.__table__

_CHECKS: Any = models.TrialIntermediateValueModel.__table__

_TOGETHER = 500  # ids in one query; SQLite takes 999 at the least


class BatchedRDBStorage(RDBStorage):
    """An `RDBStorage` that reads trials, begins and ends them in a few statements each."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return a study's trials above an id, and those `included`, by id.

        Raises KeyError if there is no such study.
        """
        with self.engine.connect() as connection:
            _study(connection, study_id)
            chosen = [_TRIALS.c.trial_id > trial_id_greater_than]
            below = sorted(one for one in included_trial_ids if one <= trial_id_greater_than)
            chosen += [_TRIALS.c.trial_id.in_(some) for some in _portions(below)]
            wanted = select(_TRIALS).where(_TRIALS.c.study_id == study_id, or_(*chosen))
            rows = connection.execute(wanted.order_by(_TRIALS.c.trial_id)).all()
            rows = [row for row in rows if states is None or row.state in states]
            rest = _Rest(connection, [row.trial_id for row in rows])
        return [rest.trial(row) for row in rows]

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        """Begin a trial, whole in one transaction; raises KeyError if there is no such study."""
        given = template_trial
        if given is None or given.values or given.intermediate_values:
            return super()._create_new_trial(study_id, given)
        with self.engine.begin() as connection:
            _study(connection, study_id, for_update=True)  # so that numbers are in the order of ids
            number = select(func.count()).where(_TRIALS.c.study_id == study_id).scalar_subquery()
            begun = insert(_TRIALS).values(
                study_id=study_id,
                number=number,
                state=given.state,
                datetime_start=_in_utc(given.datetime_start),
                datetime_complete=_in_utc(given.datetime_complete),
            )
            made = connection.execute(begun.returning(_TRIALS.c.trial_id, _TRIALS.c.number)).one()
            _add(connection, _PARAMS, made.trial_id, _param_rows(given))
            _add(connection, _NOTES, made.trial_id, _attribute_rows(given.user_attrs))
            _add(connection, _SYSTEM, made.trial_id, _attribute_rows(given.system_attrs))
        trial = copy.deepcopy(given)
        trial._trial_id, trial.number = made.trial_id, made.number
        return trial

    def set_trial_user_attrs(self, trial_id: int, told: Mapping[str, Any]) -> None:
        """Set user attributes, all or none; raises `UpdateFinishedTrialError`."""
        rows = _attribute_rows(told)
        with self.engine.begin() as connection:
            _hold(connection, trial_id)
            self._tell(connection, trial_id, rows)

    def end(
        self, trial_id: int, told: Mapping[str, Any], state: TrialState, value: float | None
    ) -> None:
        """Close a running trial with user attributes; raises `UpdateFinishedTrialError`."""
        rows = _attribute_rows(told)
        with self.engine.begin() as connection:
            _hold(connection, trial_id)
            self._tell(connection, trial_id, rows)
            if value is not None:
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                _add(
                    connection,
                    _VALUES,
                    trial_id,
                    [{"objective": 0, "value": stored, "value_type": kind}],
                )
            ended = update(_TRIALS).where(_TRIALS.c.trial_id == trial_id)
            connection.execute(ended.values(state=state, datetime_complete=_in_utc(datetime.now())))

    def _tell(self, connection: Connection, trial: int, rows: Sequence[dict[str, Any]]) -> None:
        # The two dialects spell it alike, and mypy knows one type for one name.
        told: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self.engine.name]
        told = told(_NOTES)
        told = told.on_conflict_do_update(
            index_elements=["trial_id", "key"], set_={"value_json": told.excluded.value_json}
        )
        connection.execute(told, [{"trial_id": trial, **row} for row in rows])


class _Rest:
    """What some trials have in other tables than their own."""

    def __init__(self, connection: Connection, trials: Sequence[int]) -> None:
        self._params = _rows_of(connection, _PARAMS, trials, _PARAMS.c.param_id)
        self._values = _rows_of(connection, _VALUES, trials, _VALUES.c.objective)
        self._notes = _rows_of(connection, _NOTES, trials)
        self._system = _rows_of(connection, _SYSTEM, trials)
        self._checks = _rows_of(connection, _CHECKS, trials)

    def trial(self, row: Any) -> FrozenTrial:
        """Return the trial of a row of the table of trials."""
        one = row.trial_id
        spaces = {each.param_name: _space(each.distribution_json) for each in self._params[one]}
        value_of = models.TrialValueModel.stored_repr_to_value
        check_of = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        return FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[value_of(each.value, each.value_type) for each in self._values[one]] or None,
            datetime_start=_in_local(row.datetime_start),
            datetime_complete=_in_local(row.datetime_complete),
            params={
                each.param_name: spaces[each.param_name].to_external_repr(each.param_value)
                for each in self._params[one]
            },
            distributions=spaces,
            user_attrs={each.key: json.loads(each.value_json) for each in self._notes[one]},
            system_attrs={each.key: json.loads(each.value_json) for each in self._system[one]},
            intermediate_values={
                each.step: check_of(each.intermediate_value, each.intermediate_value_type)
                for each in self._checks[one]
            },
            trial_id=one,
        )


def _rows_of(
    connection: Connection, table: Table, trials: Sequence[int], *order: Any
) -> Mapping[int, list[Any]]:
    """Return the rows of a table by trial."""
    found: dict[int, list[Any]] = defaultdict(list)
    for some in _portions(trials):
        chosen = select(table).where(table.c.trial_id.in_(some)).order_by(*order)
        for row in connection.execute(chosen):
            found[row.trial_id].append(row)
    return found


def _portions(trials: Sequence[int]) -> Iterable[Sequence[int]]:
    return (trials[first : first + _TOGETHER] for first in range(0, len(trials), _TOGETHER))


def _study(connection: Connection, study: int, for_update: bool = False) -> None:
    """Look for a study, and hold it until the commit where that is asked."""
    known = select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study)
    if connection.execute(known.with_for_update() if for_update else known).first() is None:
        raise KeyError(models.NOT_FOUND_MSG)


def _hold(connection: Connection, trial: int) -> None:
    """Let nobody end the trial before the commit: a write that changes nothing, as SQLite needs."""
    held = update(_TRIALS).where(_TRIALS.c.trial_id == trial).values(state=_TRIALS.c.state)
    state = connection.execute(held.returning(_TRIALS.c.state)).scalar_one()
    if state.is_finished():
        raise UpdateFinishedTrialError(f"trial {trial} has ended")


def _add(connection: Connection, table: Table, trial: int, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), [{"trial_id": trial, **row} for row in rows])


def _attribute_rows(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in told.items()]


def _param_rows(given: FrozenTrial) -> list[dict[str, Any]]:
    """Return the rows of parameters, whose distributions are those of all trials there."""
    return [
        {
            "param_name": name,
            "param_value": given.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(given.distributions[name]),
        }
        for name, value in given.params.items()
    ]


@lru_cache(maxsize=1_000)
def _space(told: str) -> BaseDistribution:
    return json_to_distribution(told)


def _in_utc(time: datetime | None) -> datetime | None:
    """Return local time as the tables hold it: in UTC, without its zone."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _in_local(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
