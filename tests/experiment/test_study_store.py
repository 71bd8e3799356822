"""Finished studies read back: the same comparison and experiment, or an error with the reason."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.errors import StudyError
from autoprune.evaluation.study_files import read_study, with_test_texts
from autoprune.experiment.config import RunOptions
from autoprune.experiment.setup import build_experiment
from autoprune.experiment.study_store import (
    all_studies,
    find_study,
    finished_studies,
    reload_experiment,
    study_config,
)
from autoprune.reporting.tables import comparison_as_json

ROOT = Path("studies")
STUDY = ROOT / "tiny-own-keep2"


def rewrite(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_read_study_gives_the_finished_study(searched, copy):
    whole = json.loads(searched.answer.out)
    studied = read_study(STUDY)
    assert comparison_as_json(studied.comparison) == whole["comparison"]
    assert str(studied.found) == whole["found"]
    assert 0 < studied.mean <= 1
    assert studied.std >= 0
    assert len(studied.trials) == whole["trials"]
    assert (studied.name, studied.setting.model) == ("tiny-own-keep2", "tiny")


def test_study_file_has_no_text_of_the_task(copy, task):
    written = (copy / STUDY / "study.json").read_text()
    texts = [line.split(",")[0] for line in next(task.glob("test*")).read_text().splitlines()[1:]]
    assert len(texts) > 10
    assert [text for text in texts if text in written] == []


def test_reload_experiment_gives_the_same_data_and_budgets(copy):
    experiment = reload_experiment(read_study(STUDY), RunOptions(workers=1))
    studied = with_test_texts(read_study(STUDY), experiment.test)
    assert studied.texts
    assert studied.test.rows.texts == experiment.test.rows.texts
    assert (experiment.full, experiment.quick) == (studied.setting.full, studied.setting.quick)
    assert experiment.config == study_config(studied)


def test_trial_makes_no_more_passes_than_a_run_of_the_comparison(copy):
    config = reload_experiment(read_study(STUDY), RunOptions(workers=1)).config
    budget = config.budget.model_copy(update={"epochs": 4, "full_epochs": 1})
    short = build_experiment(config.model_copy(update={"budget": budget}), RunOptions(workers=1))
    assert (short.quick.steps, short.quick.checks) == (4, 1)
    assert short.full.steps == 4


def test_paths_of_a_study_are_those_beside_studies(copy, tmp_path, monkeypatch):
    for path in ("own", "studies/own", "studies/tiny-own-keep2/own", "here/own", "here/only"):
        (tmp_path / path).mkdir(parents=True)  # studies/own: another study, named as the task
    monkeypatch.chdir(tmp_path / "here")
    study = read_study(tmp_path / STUDY)

    def config(task):
        return study_config(replace(study, config={**study.config, "task": task}))

    assert config("own").task == str(tmp_path / "own")
    assert config("only").task == str(tmp_path / "here/only")
    assert config("none").task == "none"


def test_reload_experiment_refuses_other_rows(copy, task, tmp_path, write):
    experiment = reload_experiment(read_study(STUDY), RunOptions(workers=1))
    config = dict(read_study(STUDY).config)
    config["data"] = {**config["data"], "keep_duplicates": True}
    rewrite(STUDY / "study.json", config=config)
    with pytest.raises(StudyError, match="are not those that study tiny-own-keep2 was run on"):
        reload_experiment(read_study(STUDY), RunOptions(workers=1))
    other = read_study(STUDY)
    object.__setattr__(other.test, "fingerprint", "0")
    with pytest.raises(StudyError, match="differ from those it was run on"):
        with_test_texts(other, experiment.test)


def test_reload_experiment_refuses_another_model(copy):
    study = read_study(STUDY)
    other = replace(study, setting=replace(study.setting, commit="sha256:0"))
    with pytest.raises(StudyError, match="bring the model back"):
        reload_experiment(other, RunOptions(workers=1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda: (STUDY / "study.json").unlink(), "no finished study"),
        (lambda: (STUDY / "study.json").write_text("{"), "as a study of this version"),
        (lambda: rewrite(STUDY / "study.json", schema=0), "schema 0 is not 1"),
        (lambda: rewrite(STUDY / "study.json", entrants=[{}]), "KeyError: .*origin"),
        (lambda: (STUDY / "records.jsonl").write_text(""), "lacks found with seed 1"),
    ],
)
def test_read_study_of_a_broken_study_is_one_line(copy, damage, message):
    damage()
    with pytest.raises(StudyError, match=message) as refusal:
        read_study(STUDY)
    assert "\n" not in str(refusal.value)


def test_find_study_takes_a_name_or_a_path(copy):
    assert find_study("tiny-own-keep2", ROOT) == STUDY
    assert find_study(str(copy / STUDY), ROOT) == copy / STUDY
    assert all_studies(ROOT) == finished_studies(ROOT) == [STUDY]
    with pytest.raises(StudyError, match="did you mean 'tiny-own-keep2'"):
        find_study("tiny-own-keep3", ROOT)


@pytest.mark.parametrize("text", [".", "./", "../tiny-own-keep2", "../tiny-own-keep2/", "below/.."])
def test_find_study_knows_the_folder_in_which_one_stands_by_its_name(copy, monkeypatch, text):
    (copy / STUDY / "below").mkdir()
    monkeypatch.chdir(copy / STUDY)
    found = find_study(text, ROOT)
    assert (found.name, found.resolve()) == (STUDY.name, (copy / STUDY).resolve())


def test_two_dots_are_the_folder_above_and_not_the_one_of_the_root(copy, monkeypatch):
    (copy / STUDY / ROOT).mkdir()  # as `report` leaves it in the folder where it was started
    (copy / STUDY / "below" / ROOT).mkdir(parents=True)
    monkeypatch.chdir(copy / STUDY / "below")
    assert find_study("..", ROOT).name == STUDY.name


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-this-name", ""])
def test_find_study_of_an_impossible_name_is_an_error_of_one_line(copy, name):
    with pytest.raises(StudyError, match="no study") as raised:
        find_study(name, ROOT)
    assert "\n" not in str(raised.value)


def test_find_study_of_a_folder_of_studies_names_one_of_them(copy):
    ROOT.rename("grid")
    with pytest.raises(StudyError, match="'grid' is a folder of studies: name one, such as grid/"):
        find_study("grid", ROOT)


def test_finished_studies_leaves_out_an_unfinished_study(copy):
    (STUDY / "study.json").unlink()
    assert all_studies(ROOT) == [STUDY]
    assert finished_studies(ROOT) == []
