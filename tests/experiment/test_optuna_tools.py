"""Optuna's own tools: plain Optuna and its dashboard show a study's layers, and no internals."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import optuna
import optuna.visualization as visualization
import plotly.graph_objects as go
import pytest
from optuna.importance import FanovaImportanceEvaluator
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autoprune.search.dashboard import layer_importances
from autoprune.search.trial import flag_names
from autoprune.storage.storage import open_storage

FLAGS = set(flag_names(5))
SHOWN = {
    *("layout", "picture", "origin", "seed", "fidelity", "stopped"),
    *("validation", "loss", "seconds", "accuracy", "macro_f1", "split"),
}
SEVERAL_OBJECTIVES = {"plot_hypervolume_history", "plot_pareto_front"}
PLOTS = {name for name in dir(visualization) if name.startswith("plot_")}


@pytest.fixture(scope="module", params=["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def made(request, run, model, task, tmp_path_factory):
    """Search in a storage; return how plain Optuna opens it."""
    folder = tmp_path_factory.mktemp(request.param)
    options = ["--model", model, "--task", task, "--keep", 2, "--trials", 8, "--study", "s"]
    options += ["--epochs", 3, "--full-epochs", 3, "--seeds", 1, "--batch", 16, "--workers", 1]
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'study.db'}"
        options += ["--storage", url]
    else:
        url = str(folder / "studies" / "s" / "journal.log")
    answer = run("search", *options, folder=folder)
    assert answer.code == 0, answer.err
    if request.param == "sqlite":
        return SimpleNamespace(url=url, plain=url, ours=open_storage(url, folder))
    plain = JournalStorage(JournalFileBackend(url))
    return SimpleNamespace(url=url, plain=plain, ours=open_storage(None, Path(url).parent))


@pytest.fixture
def study(made):
    return optuna.load_study(study_name="s", storage=made.plain)


def test_trials_have_the_flags_as_parameters_and_no_internals(study):
    assert len(study.trials) == 8
    for trial in study.trials:
        assert set(trial.params) == FLAGS
        assert set(trial.user_attrs) == SHOWN
        assert set(trial.system_attrs) >= {"worker", "claim"}
        assert trial.user_attrs["seed"] >= 1000 and trial.user_attrs["fidelity"] == 1.0
        assert len(trial.intermediate_values) == 3
        assert trial.intermediate_values[trial.last_step] == trial.value
    assert not {"searching", "worker", "beat"} & set(study.user_attrs)


assert len(PLOTS) >= 12, "optuna.visualization is imported lazily"


@pytest.mark.parametrize("name", sorted(PLOTS - SEVERAL_OBJECTIVES))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_draws_all_its_plots(study, name):
    figure = getattr(visualization, name)(study)
    assert isinstance(figure, go.Figure) and figure.data
    text = figure.to_json()
    assert '"seed"' not in text and '"fidelity"' not in text
    if name == "plot_intermediate_values":
        assert [len(line.x) for line in figure.data] == [3] * 8
    if name == "plot_param_importances":
        assert set(figure.data[0].y) == FLAGS


def test_importances_are_those_of_optuna_by_fanova(study, made):
    fanova = FanovaImportanceEvaluator(seed=0)
    plain = optuna.importance.get_param_importances(study, evaluator=fanova)
    ours = layer_importances(made.ours, "s")
    assert ours == {f"layer {int(name[6:])}": pytest.approx(share) for name, share in plain.items()}
    assert list(ours.values()) == pytest.approx(sorted(ours.values(), reverse=True), abs=1e-9)


@pytest.fixture
def ask(made):
    """Start plain optuna-dashboard on the study; return what asks it for JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("optuna-dashboard"), made.url, "--port", str(port)]

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return json.load(answer)

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--host", "127.0.0.1"], **quiet) as process:
        until = time.monotonic() + 120
        while True:
            try:
                ask("/api/studies")
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.2)
        yield ask
        process.kill()


def test_plain_dashboard_shows_layers_and_no_internals(ask, study, made):
    [listed] = ask("/api/studies")["study_summaries"]
    number = listed["study_id"]
    detail = ask(f"/api/studies/{number}?after=0")
    assert {space["name"] for space in detail["union_search_space"]} == FLAGS
    assert {attribute["key"] for attribute in detail["union_user_attrs"]} == SHOWN
    assert "searching" not in {attribute["key"] for attribute in detail["user_attrs"]}
    assert detail["has_intermediate_values"] and len(detail["trials"]) == 8
    for shown, trial in zip(detail["trials"], study.trials, strict=True):
        assert {param["name"] for param in shown["params"]} == FLAGS
        values = {value["step"]: value["value"] for value in shown["intermediate_values"]}
        assert values == trial.intermediate_values
    [shares] = ask(f"/api/studies/{number}/param_importances")["param_importances"]
    plain = optuna.importance.get_param_importances(study)
    assert {share["name"]: share["importance"] for share in shares} == pytest.approx(plain)
    assert set(plain) == FLAGS
