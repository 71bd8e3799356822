"""Contract: the private names of Optuna that we use are there, and mean what we take them for."""

import ast
import inspect
import re
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

import autoprune
from autoprune.storage import optuna_internals as internals

SOURCES = sorted(Path(autoprune.__file__).parent.rglob("*.py"))


@pytest.fixture
def study():
    return optuna.create_study(storage=InMemoryStorage(), study_name="s")


def test_ids_are_those_of_the_storage(study):
    storage = study._storage
    study.add_trial(optuna.trial.create_trial(value=0.5))
    (trial,) = study.get_trials()
    assert storage.get_trial(internals.trial_id_of(trial)).number == trial.number
    assert internals.study_id_of(study) == storage.get_study_id_from_name("s")
    (frozen,) = storage.get_all_studies()
    assert isinstance(frozen, internals.FrozenStudy)
    assert internals.study_id_of(frozen) == internals.study_id_of(study)


def test_ids_are_replaced_in_a_copy(study):
    study.add_trial(optuna.trial.create_trial(value=0.5))
    (trial,), (frozen,) = study.get_trials(), study._storage.get_all_studies()
    assert internals.trial_id_of(internals.with_trial_id(trial, 77)) == 77
    assert internals.study_id_of(internals.with_study_id(frozen, 77)) == 77
    assert internals.trial_id_of(trial) != 77 != internals.study_id_of(frozen)


def test_journal_operations_are_those_of_optuna():
    assert set(range(10)) <= internals.JOURNAL_OPERATIONS
    assert all(type(operation) is int for operation in internals.JOURNAL_OPERATIONS)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (internals.STUDIES, "study_id"),
        (internals.TRIALS, "trial_id study_id number state datetime_start datetime_complete"),
        (internals.PARAMS, "param_id trial_id param_name param_value distribution_json"),
        (internals.VALUES, "trial_id objective value value_type"),
        (internals.USER_ATTRIBUTES, "trial_id key value_json"),
        (internals.SYSTEM_ATTRIBUTES, "trial_id key value_json"),
        (
            internals.INTERMEDIATE_VALUES,
            "trial_id step intermediate_value intermediate_value_type",
        ),
    ],
    ids=str,
)
def test_tables_have_the_columns_that_are_read(table, columns):
    assert set(columns.split()) <= set(table.c.keys())


@pytest.mark.parametrize("name", ["_get_trials", "_create_new_trial"])
def test_replaced_methods_have_the_signature_of_optuna(name):
    ours, theirs = (getattr(cls, name) for cls in (internals.RDBStorageHooks, RDBStorage))
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_replaced_methods_are_what_the_public_ones_call(tmp_path):
    called = []

    class Recording(internals.RDBStorageHooks):
        def read_trials(self, *args):
            called.append("read")
            return super().read_trials(*args)

        def insert_trial(self, *args):
            called.append("insert")
            return super().insert_trial(*args)

    storage: BaseStorage = Recording(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage)
    storage.create_new_trial(internals.study_id_of(study))
    assert called == ["insert"]
    assert len(study.get_trials()) == 1
    assert called[-1] == "read"


def test_no_other_module_uses_private_names_of_optuna():
    found = []
    for path in SOURCES:
        if path.name == "optuna_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            if re.search(r"^optuna(_dashboard)?\b.*\._", f"{module}."):
                found.append(f"{path.name} imports {module}")
            private = isinstance(node, ast.Attribute) and node.attr in {"_trial_id", "_study_id"}
            if private and ast.unparse(node.value) != "self":
                found.append(f"{path.name}:{node.lineno} reads {node.attr}")
    assert found == []
