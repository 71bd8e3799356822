from dataclasses import replace

import optuna
import pytest

from autoprune.errors import StudyError
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.settings import SearchSettings
from autoprune.search.study import open_study, optimize_study

IDENTITY = {
    "model": "mr-12",
    "commit": None,
    "task": "shc",
    "data": "sha256:0a1b",
    "learning_rate": 5e-05,
    "steps": 66,
    "keep": 6,
}
OTHER = {
    "model": "mr-6",
    "commit": "8d7e",
    "task": "lpc",
    "data": "sha256:77ff",
    "learning_rate": 1e-4,
    "steps": 67,
    "keep": 4,
}


def create_or_load(storage, name, identity):
    return open_study(storage, name, 12, 6, 0, identity)


@pytest.fixture
def storage():
    return optuna.storages.InMemoryStorage()


@pytest.mark.parametrize("key", IDENTITY)
def test_study_with_another_identity_is_refused_by_name(key, storage):
    create_or_load(storage, "s", IDENTITY)
    with pytest.raises(StudyError) as error:
        create_or_load(storage, "s", {**IDENTITY, key: OTHER[key]})
    assert str(error.value) == (
        f"study s was begun with {key} {IDENTITY[key]}, got {OTHER[key]}: "
        "use the same, or another --study name"
    )


def test_study_identity_names_all_differences(storage):
    create_or_load(storage, "s", IDENTITY)
    less = {key: value for key, value in IDENTITY.items() if key != "steps"}
    with pytest.raises(StudyError, match=r"with steps 66, got \(not stated\); method \(not stated"):
        create_or_load(storage, "s", {**less, "method": "lora"})
    assert create_or_load(storage, "s", IDENTITY).user_attrs["steps"] == 66


def test_study_with_the_same_identity_is_loaded(storage):
    create_or_load(storage, "s", IDENTITY)
    create_or_load(storage, "s", dict(reversed(IDENTITY.items())))
    create_or_load(storage, "t", OTHER)
    assert optuna.get_all_study_names(storage) == ["s", "t"]


@pytest.mark.parametrize(("changes", "words"), [({"seed": 1}, "seed 0, got 1")])
def test_optimize_study_checks_the_identity(changes, words, storage, planted):
    settings = SearchSettings(
        depth=8, keep=4, trials=1, initial_layouts=strategy_layouts(["top"], 8, 4)
    )
    optimize_study(planted(0, 8, 4), settings, storage, "s", {})
    with pytest.raises(StudyError, match=words):
        optimize_study(planted(0, 8, 4), replace(settings, **changes), storage, "s", {})
    with pytest.raises(StudyError, match="depth 8, got 12; keep 4, got 6"):
        optimize_study(
            planted(0, 12, 6), SearchSettings(depth=12, keep=6, trials=1), storage, "s", {}
        )


def test_study_of_another_program_is_refused(storage):
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(StudyError, match="study s was not begun by autoprune"):
        create_or_load(storage, "s", IDENTITY)
    optuna.create_study(study_name="t", storage=storage, directions=["maximize", "minimize"])
    with pytest.raises(StudyError, match="study t was not begun by autoprune"):
        create_or_load(storage, "t", IDENTITY)


def test_study_of_another_schema_is_refused(storage):
    study = create_or_load(storage, "s", IDENTITY)
    study.set_user_attr("autoprune", {"schema": 99, "identity": []})
    with pytest.raises(StudyError, match="schema 99, this autoprune writes schema 3"):
        create_or_load(storage, "s", IDENTITY)


def test_study_created_in_part_is_completed(storage):
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.set_user_attr("model", "mr-12")
    assert create_or_load(storage, "s", IDENTITY).user_attrs["task"] == "shc"
