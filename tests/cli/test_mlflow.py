"""MLflow by its own library: each run stands there once; what fails there stops no study."""

import json
import sys

import pytest
from mlflow import MlflowClient

from autoprune.cli.trackers import close_trackers, emit, open_trackers
from autoprune.errors import OptionError
from autoprune.experiment.events import EntrantRunFinished, TrialFinished

STUDY = "tiny-own-keep2"


@pytest.fixture
def short(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 3, "--json"),
        *("--epochs", 5, "--full-epochs", 2, "--seeds", 1, "--batch", 8),
        *(
            "--learning-rates",
            "0.01,0.02",
            "--strategy",
            "top",
            "--strategy",
            "middle",
            "--workers",
            1,
            "--mlflow",
        ),
    ]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Return a database for MLflow; to make one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


@pytest.fixture
def tracked(database, monkeypatch):
    """Return a client of the database, which is where `open_mlflow` writes too."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return MlflowClient(database)


def runs_of(client, study):
    return client.search_runs([client.get_experiment_by_name(study).experiment_id])


def name_of(told):
    """Return what tells a run from the others, by its record or by its parameters in MLflow."""
    rate = 0.0 if told["phase"] == "search" else float(told["learning_rate"])
    return told["phase"], told["origin"], told["layout"], int(told["seed"]), rate


def test_each_run_of_a_study_stands_in_mlflow_once(run, short, here, tracked):
    answer = run(*short)
    assert answer.code == 0, answer.err
    assert run(*short).code == 0  # all is on file
    lines = map(json.loads, (here / f"studies/{STUDY}/records.jsonl").open())
    records = {name_of({**one, **one["budget"]}): one["scores"][0] for one in lines}
    found = {name_of(one.data.params): one for one in runs_of(tracked, STUDY)}
    assert len(found) == len(runs_of(tracked, STUDY))
    assert found.keys() == records.keys()
    assert {phase for phase, *_ in found} == {"search", "tuning", "comparison"}
    for name, score in records.items():
        one = found[name]
        assert one.data.metrics["quality"] == score["quality"]
        assert one.info.status == "FINISHED"
        assert one.info.end_time - one.info.start_time == round(1000 * score["seconds"])
    experiment = tracked.get_experiment_by_name(STUDY)
    assert experiment.tags["found"] == answer.result["found"]


def trial(state="complete", figures=(0.5, 1.0, 2.0), reason="", elsewhere=False):
    return TrialFinished("s", "top", "4:0-1", 3, 1.0, state, *figures, reason, elsewhere)


def test_a_failed_run_says_why(tracked):
    open_trackers("search", mlflow=True)
    emit(trial("failed", (None, None, None), "the loss is nan"))
    emit(trial(elsewhere=True))  # the process that ran it writes it
    figures = (0.5, 1.0, 2.0, 1e-4, "")
    emit(EntrantRunFinished("s", "comparison", "top", "4:0-1", 3, 1.0, *figures, True, False))
    close_trackers(0)
    [one] = runs_of(tracked, "s")
    assert (one.info.status, one.data.tags["reason"]) == ("FAILED", "the loss is nan")
    assert one.data.metrics == {}


def test_mlflow_that_goes_away_is_told_once_and_left(tracked, monkeypatch, capsys):
    def away(*_, **__):
        raise ConnectionError("http://ann:secret@host")

    open_trackers("search", mlflow=True)
    monkeypatch.setattr(MlflowClient, "create_run", away)
    emit(trial())
    emit(trial())
    close_trackers(0)
    said = capsys.readouterr().err
    assert said == "MLflow takes no more runs (ConnectionError): going on without it\n"


def test_a_server_that_is_not_there_is_refused_before_anything_is_trained(
    run, short, here, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    answer = run(*short)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "MLFLOW_TRACKING_URI" in answer.err
    assert "secret" not in answer.err
    assert not (here / "studies").exists()


def test_without_the_extra_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(OptionError, match=r'pip install "autoprune\[mlflow\]"'):
        open_trackers("search", mlflow=True)
