"""Study configuration: mistakes are refused in one line, all forms give the same study."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.choices import METHOD_NAMES, METRIC_NAMES, PRUNER_NAMES, SAMPLER_NAMES
from autoprune.errors import AutopruneError, OptionError, UnknownNameError
from autoprune.experiment.config import (
    SECTIONS,
    RunOptions,
    StudyConfig,
    merge_options,
    nest_options,
    read_toml,
    write_toml,
)
from autoprune.files import derive_study_name, validate_study_name
from autoprune.layouts.strategies import STRATEGIES

REQUIRED = {"model": "muril", "task": "shc", "keep": 6}

rates = st.floats(1e-6, 0.9)
options = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.sampled_from(METRIC_NAMES),
        "seed": st.integers(0, 2**31 - 1),
        "text": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
        "keep_duplicates": st.booleans(),
        "epochs": st.integers(1, 99),
        "full_epochs": st.integers(1, 99),
        "learning_rate": rates,
        "learning_rates": st.lists(rates, min_size=2, max_size=4, unique=True),
        "method": st.sampled_from(METHOD_NAMES),
        "seeds": st.integers(1, 100),
        "strategies": st.lists(st.sampled_from(sorted(STRATEGIES)), min_size=1, unique=True),
        "rivals": st.lists(st.sampled_from(["demo", "org/model"]), unique=True),
        "trials": st.integers(1, 999),
        "minutes": st.floats(0.01, 1e6),
        "sampler": st.sampled_from(SAMPLER_NAMES),
        "pruner": st.sampled_from(PRUNER_NAMES),
    },
)


@given(options)
def test_config_survives_dict_and_toml(tmp_path_factory, chosen):
    config = StudyConfig.from_options(**REQUIRED, **chosen)
    assert StudyConfig.from_dict(config.to_dict()) == config
    path = tmp_path_factory.mktemp("toml") / "study.toml"
    write_toml(path, config, config.keep)
    assert StudyConfig.from_dict(read_toml(path)) == config


def test_model_named_by_where_one_stands_is_stored_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "mine" / "other").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "other")
    config = StudyConfig.from_options(task="shc", keep=6, model=".", rivals=["..", "demo"])
    monkeypatch.chdir(tmp_path)
    stored = StudyConfig.from_dict(config.to_dict())
    assert stored.model == str(tmp_path / "mine" / "other")
    assert stored.comparison.rivals == (str(tmp_path / "mine"), "demo")
    relative = StudyConfig.from_options(task="shc", keep=6, model="./mine")
    assert relative.model == "./mine"


@pytest.mark.parametrize(
    "model", ["-x", ".hidden", "\u093f", "--", "...", "@", "m" * 250, "म" * 90, "m\u200dn", "क"]
)
def test_derived_name_is_one_that_an_option_may_take(model):
    name = derive_study_name(model, "क्रीडा", 6)
    assert validate_study_name(name) == name
    assert name.endswith("-keep6")
    assert derive_study_name("mr-12", "shc", 6) == "mr-12-shc-keep6"


def test_config_is_frozen():
    config = StudyConfig.from_options(**REQUIRED)
    with pytest.raises(ValueError, match="frozen"):
        config.keep = 3
    assert hash(config) == hash(StudyConfig.from_options(**REQUIRED))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"keep": 0}, "keep must be greater than or equal to 1, got 0"),
        ({"keep": "six"}, "keep must be"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, got 0"),
        ({"epoch": 3}, "unknown setting 'epoch', did you mean 'epochs'?"),
        ({"learning_rate": 1.5}, "learning_rate must be less than 1, got 1.5"),
        ({"learning_rates": [1e-4]}, "two or more different numbers"),
        ({"seed": -1}, "seed must be greater than or equal to 0, got -1"),
        ({"promote": True, "sampler": "tpe"}, "--promote takes --sampler gp"),
        ({"proxy": "alignment", "sampler": "random"}, "--proxy informs --sampler gp"),
    ],
)
def test_wrong_setting_is_refused_in_one_line(wrong, message):
    with pytest.raises(OptionError) as refused:
        StudyConfig.from_options(**{**REQUIRED, **wrong})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["sampler", "pruner", "proxy", "method", "metric"])
def test_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=f"unknown {name} 'nonsense'"):
        StudyConfig.from_options(**REQUIRED, **{name: "nonsense"})


@pytest.mark.parametrize("missing", REQUIRED)
def test_missing_setting_is_named(missing):
    given_options = {name: value for name, value in REQUIRED.items() if name != missing}
    with pytest.raises(OptionError, match=f"missing setting '{missing}'"):
        StudyConfig.from_options(**given_options)


def test_setting_names_are_in_one_section_only():
    names = [name for section in SECTIONS.values() for name in section.model_fields]
    names += [*StudyConfig.model_fields, *RunOptions.model_fields]
    assert len(names) == len(set(names))
    assert all(nest_options({name: None}) for name in SECTIONS["budget"].model_fields)


def test_options_win_over_the_values_of_a_file():
    values = {"model": "muril", "keep": 6, "budget": {"epochs": 2, "batch": 16}}
    merged = merge_options(values, {"epochs": 5, "trials": 3, "keep": 4})
    assert merged == {
        "model": "muril",
        "keep": 4,
        "budget": {"epochs": 5, "batch": 16},
        "search": {"trials": 3},
    }
    assert values["budget"]["epochs"] == 2


@pytest.mark.parametrize("text", ["keep = ", "budget = 3", "[nonsense]\nx = 1", b"\xff"])
def test_wrong_toml_is_refused(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AutopruneError) as refused:
        StudyConfig.from_dict({**REQUIRED, **read_toml(path)})
    assert "\n" not in str(refused.value)
    with pytest.raises(OptionError, match="cannot read --config"):
        read_toml(tmp_path / "none.toml")


def test_paths_hold_from_every_folder(tmp_path):
    (tmp_path / "model").mkdir()
    config = StudyConfig.from_options(model="model", task="shc", keep=6, data_dir="data")
    absolute = config.with_absolute_paths()
    assert absolute.model == str(tmp_path / "model")
    assert absolute.task == "shc"
    assert absolute.data.data_dir == Path("data")  # there is none


def test_paths_are_those_of_the_first_folder_that_has_them(tmp_path):
    for path in ("one/model", "two/model", "two/own", "two/mr-2", "two/full", "two/texts.txt"):
        (tmp_path / path).mkdir(parents=True)
    config = StudyConfig.from_options(
        model="model", task="own", keep=6, rivals=("mr-2", "muril"), data_dir="gone",
        distill="logits", teacher="full", unlabelled="texts.txt",
    )  # fmt: skip
    found = config.with_absolute_paths([tmp_path / "one", tmp_path / "two"])
    assert (found.model, found.task) == (str(tmp_path / "one/model"), str(tmp_path / "two/own"))
    assert found.comparison.rivals == (str(tmp_path / "two/mr-2"), "muril")
    assert found.data.data_dir == Path("gone")
    assert found.distillation.teacher == "full"
    assert found.distillation.unlabelled == tmp_path / "two/texts.txt"


def test_flat_form_of_0_1_0_is_read():
    flat = {
        "model": "muril",
        "task": "shc",
        "strategies": ["top"],
        "rivals": [],
        "columns": {"text": None, "pair": "second", "label": None},
        "metric": None,
        "data_dir": "data",
        "keep_duplicates": True,
        "seed": 7,
        "device": "auto",
        "method": "lora",
        "promote": False,
        "epochs": 2,
        "full_epochs": None,
        "batch": 16,
        "parts": 1,
        "tokens": None,
        "learning_rate": 0.02,
        "learning_rates": [],
        "workers": 1,
        "keep": 2,
    }
    config = StudyConfig.from_dict(flat)
    assert config == StudyConfig.from_options(
        model="muril",
        task="shc",
        keep=2,
        seed=7,
        text_pair="second",
        data_dir="data",
        keep_duplicates=True,
        epochs=2,
        batch=16,
        learning_rate=0.02,
        method="lora",
        strategies=("top",),
    )
    searched = flat | {"trials": 5, "sampler": "tpe", "pruner": "median", "proxy": "none"}
    assert StudyConfig.from_dict(searched).search.trials == 5


@pytest.mark.parametrize(
    ("seeds", "stored", "least", "most"),
    [(3, 3, 3, 3), ("3", 3, 3, 3), ("3-10", "3-10", 3, 10), (" 4 - 4 ", 4, 4, 4)],
)
def test_seeds_are_a_number_or_a_range(tmp_path, seeds, stored, least, most):
    config = StudyConfig.from_options(model="muril", task="shc", keep=2, seeds=seeds, race=False)
    comparison = config.comparison
    assert (comparison.least_seeds, comparison.most_seeds) == (least, most)
    assert config.to_dict()["comparison"]["seeds"] == stored
    assert StudyConfig.from_dict(config.to_dict()) == config
    write_toml(tmp_path / "study.toml", config, 2)
    assert StudyConfig.from_dict(read_toml(tmp_path / "study.toml")) == config


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("", "--seeds takes a number such as 3, or a range such as 3-10, got"),
        ("three", "--seeds takes a number such as 3, or a range such as 3-10, got 'three'"),
        ("3-5-7", "--seeds takes a number such as 3, or a range such as 3-10, got '3-5-7'"),
        (0, "--seeds lie between 1 and 100, the least first, got 0"),
        (-1, "--seeds takes a number such as 3, or a range such as 3-10, got -1"),
        ("10-3", "--seeds lie between 1 and 100, the least first, got 10-3"),
        ("3-101", "--seeds lie between 1 and 100, the least first, got 3-101"),
        ("2-5", "a range of --seeds begins at 3 or above"),
        (2.5, "seeds must be"),
        ("9" * 5000, "--seeds takes a number such as 3"),
        ("²-3", "--seeds takes a number such as 3"),
    ],
)
def test_wrong_seeds_are_refused_in_one_line(seeds, message):
    with pytest.raises(OptionError, match=re.escape(message)) as caught:
        StudyConfig.from_options(model="muril", task="shc", keep=2, seeds=seeds)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_options_without_a_teacher_win_over_a_file_with_one():
    values = {**REQUIRED, "distillation": {"distill": "hidden", "temperatures": [1, 2]}}
    merged = StudyConfig.from_dict(merge_options(values, {"distill": "none"}))
    assert merged.distillation == StudyConfig.from_dict(REQUIRED).distillation
    assert merge_options(values, {"distill": "logits"})["distillation"]["temperatures"] == [1, 2]
