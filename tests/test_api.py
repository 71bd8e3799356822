"""Python API: studies from Python alone; nothing is printed, nothing is written elsewhere."""

import inspect
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas
import pytest

import autoprune
from autoprune import api
from autoprune.errors import AutopruneError, OptionError
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.events import SearchFinished, TrialFinished
from tiny_models import NUMBERS, save_model

OPTIONS = {
    "keep": 2,
    "trials": 2,
    "epochs": 1,
    "full_epochs": 1,
    "seeds": 1,
    "batch": 16,
    "workers": 1,
    "strategies": ("top", "middle"),
}

OF_BASELINE = {name: value for name, value in OPTIONS.items() if name != "trials"}
NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def rows(count, first=0):
    """Return rows in which the label's word is repeated."""
    words = len(NUMBERS)
    texts = [
        " ".join(
            [NUMBERS[i % 3]] * 3 + [NUMBERS[i * step % words] for step in (1, 3, 7)] + [f"r{i}"]
        )
        for i in range(first, first + count)
    ]
    return pandas.DataFrame({"text": texts, "label": [f"l{i % 3}" for i in range(count)]})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model("bert", tmp_path_factory.mktemp("models") / "tiny")


class Recorder:
    """A tracker that keeps the events."""

    def __init__(self):
        self.events = []

    def track(self, event):
        self.events.append(event)

    def close(self):
        pass


@pytest.fixture(scope="module")
def searched(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    recorder = Recorder()
    train = {"train": rows(60), "validation": rows(24, 100), "test": rows(24, 200)}
    result = autoprune.run_search(
        model=str(model), train=train, root=root, trackers=[recorder], **OPTIONS
    )
    return result, root, recorder.events


def test_result_holds_what_json_prints(searched):
    result, root, _ = searched
    values = result.to_dict()
    assert values["found"] == str(result.found)
    assert values["recommended"] is None is result.recommended  # the tiny model learns nothing
    assert values["trials"] == 2
    assert values["comparison"] == list(result.comparison)
    assert [row["origin"] for row in result.comparison] == [
        *("found", "top", "middle", "full", "scratch", "majority", "tf-idf")
    ]
    assert list(result.comparison.to_pandas()["origin"]) == [
        row["origin"] for row in result.comparison
    ]
    assert Path(values["report"]).is_relative_to(root)


def test_result_shows_as_a_table_and_is_escaped(searched):
    result, *_ = searched
    html = result._repr_html_()
    assert html.count("<tr>") == 8
    assert "<table" in html and "<script" not in html
    assert str(result.found) in repr(result)


def test_files_are_below_root_only(searched, tmp_path):
    _, root, _ = searched
    assert sorted(path.name for path in root.iterdir()) == ["data", "reports", "studies"]
    assert list(tmp_path.iterdir()) == []  # the working folder


def test_root_wins_over_that_of_run(model, tmp_path):
    run = RunOptions(root=tmp_path / "first", workers=1)
    given = {name: value for name, value in OF_BASELINE.items() if name != "workers"}
    with pytest.raises(AutopruneError):  # after the rows are stored
        autoprune.run_baseline(
            model=str(model / "none"), train=rows(60), run=run, root=tmp_path / "second", **given
        )
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    with pytest.raises(AutopruneError):
        autoprune.run_baseline(model=str(model / "none"), train=rows(60), run=run, **given)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_nothing_is_printed(model, tmp_path, capfd):
    autoprune.run_baseline(model=str(model), train=rows(60), root=tmp_path / "quiet", **OF_BASELINE)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_progress_is_shown_when_asked_for(model, tmp_path, capsys):
    autoprune.run_baseline(
        model=str(model), train=rows(60), root=tmp_path / "shown", progress=True, **OF_BASELINE
    )
    out, err = capsys.readouterr()
    assert out == "" and "run   1/4" in err


def test_trackers_take_typed_events(searched):
    result, _, events = searched
    trials = [event for event in events if isinstance(event, TrialFinished)]
    assert [trial.study for trial in trials] == [result.name] * 2
    [end] = [event for event in events if isinstance(event, SearchFinished)]
    assert end.found == str(result.found)


def test_study_is_loaded_by_folder_result_and_name(searched):
    result, root, _ = searched
    for again in (autoprune.load_study(result.folder), autoprune.load_study(result.name, root)):
        assert again.to_dict() | {"report": ""} == result.to_dict() | {"report": ""}
    assert autoprune.load_study(result.name, root).report == result.report


def test_same_call_resumes_and_stores_the_rows_once(searched, model):
    result, root, _ = searched
    train = {"train": rows(60), "validation": rows(24, 100), "test": rows(24, 200)}
    again = autoprune.run_search(model=str(model), train=train, root=root, **OPTIONS)
    assert again.to_dict() == result.to_dict()
    assert len(list((root / "data").iterdir())) == 1


def test_datasets_give_the_study_of_the_same_rows(model, tmp_path):
    datasets = pytest.importorskip("datasets")
    names = ["l0", "l1", "l2"]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    frame = rows(60)
    frame["label"] = frame["label"].map(names.index)
    train = datasets.DatasetDict(
        train=datasets.Dataset.from_pandas(frame, features=features, preserve_index=False)
    )
    found = [
        autoprune.run_baseline(model=str(model), train=each, root=tmp_path / name, **OF_BASELINE)
        for name, each in (("frame", rows(60)), ("dataset", train))
    ]
    first, second = (list(each.comparison) for each in found)
    assert [row["test_mean"] for row in first] == [row["test_mean"] for row in second]
    assert found[1].study.setting.labels == ("l0", "l1", "l2")


def test_two_studies_are_compared(searched, model):
    result, root, _ = searched
    with pytest.raises(autoprune.AutopruneError, match="two different studies"):
        autoprune.compare_studies(result, result)
    other = autoprune.run_search(
        StudyConfig.from_dict(result.study.config), run=RunOptions(root=root, study="other")
    )
    pair = autoprune.compare_studies(result, other)
    assert pair.difference.mean == 0


def test_model_is_exported_and_its_cost_measured(searched, tmp_path, monkeypatch):
    from transformers import AutoModelForSequenceClassification

    result, *_ = searched
    options = api.ExportOptions(seeds=1, force=True, push="org/model")
    uploads = []
    monkeypatch.setattr("autoprune.export.push_to_hub.check_push_target", lambda *_: None)
    monkeypatch.setattr(api, "push_export", lambda out, options: uploads.append(options.push))
    exported = autoprune.export_model(result, tmp_path / "model", options)
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    assert f"autoprune.export_model('{result.folder.name}', 'DIR')" in card
    assert uploads == ["org/model"]
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert loaded.config.num_hidden_layers == len(exported.request.layout.keep) == 2
    request = api.CostRequest("", rounds=6, threads=1)
    cost = autoprune.measure_cost(result, request=request)
    assert cost.costs[0].name == "full"


def test_export_options_that_do_not_go_together_are_refused_first(searched, tmp_path):
    result, *_ = searched
    for options, words in (
        (api.ExportOptions(public=True), "give --push"),
        (api.ExportOptions(corpus=(tmp_path / "texts.txt",)), "give --trim-vocabulary"),
        (api.ExportOptions(formats=("onxx",)), "did you mean 'onnx'"),
    ):
        with pytest.raises(autoprune.AutopruneError, match=words):
            autoprune.export_model(result, tmp_path / "model", options)
    assert not (tmp_path / "model").exists()


def test_result_of_a_baseline_is_not_the_search_beside_it(searched, model, monkeypatch):
    result, root, _ = searched
    given = OF_BASELINE | {"strategies": ("top",), "task": str(next((root / "data").iterdir()))}
    baseline = autoprune.run_baseline(model=str(model), root=root, **given)
    assert baseline.folder == result.folder and result.found != baseline.study.comparison.subject
    asked = []
    monkeypatch.setattr(api, "export_study", lambda study, *_: asked.append(study))
    monkeypatch.setattr(api, "measure_requested_costs", lambda *given: asked.append(given[-1]))
    with suppress(AttributeError):
        autoprune.export_model(baseline, root / "m")
    autoprune.measure_cost(baseline)
    assert [study.found for study in asked] == [None, None]
    assert autoprune.load_study(result.folder).found == result.found


def test_home_folder_is_known(searched, monkeypatch):
    result, root, _ = searched
    monkeypatch.setenv("HOME", str(root.parent))
    assert autoprune.load_study(result.name, root=f"~/{root.name}").found == result.found
    with pytest.raises(AutopruneError, match=r"run_baseline does not search: leave trials out"):
        autoprune.run_baseline(model="demo", task="demo", keep=2, trials=3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch', did you mean 'epochs'"),
        ({"workers": 0}, "workers must be"),
        (
            {"train": rows(60).assign(verdict=["x", 1] * 30), "label": "verdict"},
            "column 'verdict' of the DataFrame train cannot be stored",
        ),
        ({"train": 3}, "rows must be a DataFrame or a datasets.Dataset, got int"),
        ({"train": {"test": None}}, "a data set needs a split train"),
        ({"train": {"train": rows(60), "tset": rows(9)}}, "got 'tset': rename it or leave it out"),
    ],
)
def test_wrong_option_is_one_line(model, tmp_path, wrong, message):
    options = {**OPTIONS, "model": str(model), "train": rows(60), "root": tmp_path, **wrong}
    with pytest.raises(autoprune.AutopruneError) as refused:
        autoprune.run_search(**options)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "studies").exists()


def test_options_are_all_settings_there_are():
    from autoprune.experiment.config import SECTIONS

    settings = {*StudyConfig.model_fields, *RunOptions.model_fields}
    settings |= {name for section in SECTIONS.values() for name in section.model_fields}
    assert set(api.StudyOptions.__annotations__) == settings - set(SECTIONS) - {"root"}


@pytest.mark.parametrize("name", autoprune.__all__)
def test_public_names_are_documented_with_an_example(name):
    value = getattr(autoprune, name)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        assert "Example:" in value.__doc__


def test_import_is_lazy():
    code = "import sys, autoprune; print({'torch', 'optuna', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = autoprune.nonsense
    assert "run_search" in dir(autoprune)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"root": 3}, "root must be a path, got 3"),
        ({"trackers": [5]}, "trackers is a list of objects with a method track, got [5]"),
        ({"trackers": 5}, "trackers is a list of objects with a method track, got 5"),
        ({"strategies": 5}, "strategies must be a list, got 5"),
        ({"progress": None}, "progress must be True, False or an object of autoprune's class"),
        ({"run": {"workers": 1}}, "run must be of the class RunOptions, got {'workers': 1}"),
        ({"config": {"keep": 2}}, "config must be of the class StudyConfig, got {'keep': 2}"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_its_name(model, wrong, message, tmp_path):
    options = {"model": str(model), "train": rows(60), "keep": 2, "root": tmp_path} | wrong
    with pytest.raises(OptionError, match=re.escape(message)):
        autoprune.run_search(**options)
    with pytest.raises(OptionError, match="root must be a path"):
        autoprune.load_study("none", root=3)


def test_export_with_an_argument_of_another_type_is_refused(searched, tmp_path):
    result, *_ = searched
    with pytest.raises(OptionError, match="out must be the path of a folder, got None"):
        autoprune.export_model(result, None)
    with pytest.raises(OptionError, match="options must be of the class ExportOptions"):
        autoprune.export_model(result, tmp_path / "model", {"seeds": 1})
    with pytest.raises(OptionError, match="request must be of the class CostRequest"):
        autoprune.measure_cost(result, request={"rounds": 6})


def test_threads_are_as_before(model, tmp_path):
    import torch

    before = torch.get_num_threads()
    with pytest.raises(OptionError):
        autoprune.run_search(model=str(model), train=rows(60), root=tmp_path, keep=2, batch=0)
    autoprune.run_baseline(model=str(model), train=rows(60), root=tmp_path, **OF_BASELINE)
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_script_without_a_main_guard_runs_once(model, tmp_path):
    program = f"""
import autoprune, pathlib
print("started", flush=True)
options = {OF_BASELINE | {"workers": 2}!r}
options["strategies"], options["allow_unknown_tokens"] = ("top", "middle"), True
root = pathlib.Path("here")
result = autoprune.run_baseline(model={str(model)!r}, task="demo", root=root, **options)
print(result.recommended)
"""
    done = subprocess.run(
        [sys.executable, "-"], input=program, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "started" and len(done.stdout.splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    notebook = nbformat.read(notebook, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert any("<table>" in html for html in shown)


def test_layout_that_learned_nothing_is_exported_only_by_force(searched, tmp_path):
    result, *_ = searched
    for layout in (None, "recommended", "top"):
        options = api.ExportOptions(layout=layout, seeds=1)
        with pytest.raises(autoprune.AutopruneError, match="--force"):
            autoprune.export_model(result, tmp_path / "model", options)
    assert not (tmp_path / "model").exists()
