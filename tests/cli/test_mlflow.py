"""Option --mlflow: each run of a study is one run of MLflow."""

import json

import pytest

STUDY = "tiny-own-keep2"


@pytest.fixture
def short(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 3, "--json"),
        *("--epochs", 5, "--full-epochs", 2, "--seeds", 1, "--batch", 8),
        *("--strategy", "top", "--strategy", "middle", "--workers", 1),
        *("--learning-rates", "0.01,0.02", "--mlflow"),
    ]


def name_of(values):
    """Return what identifies a run, from its record or from its parameters in MLflow."""
    rate = 0.0 if values["phase"] == "search" else float(values["learning_rate"])
    return values["phase"], values["origin"], values["layout"], int(values["seed"]), rate


@pytest.mark.slow
def test_mlflow_has_each_run_of_a_study_once(run, short, tmp_path, mlflow_client, mlflow_runs):
    answer = run(*short)
    assert answer.code == 0, answer.err
    assert run(*short).code == 0  # all is on file
    lines = map(json.loads, (tmp_path / f"studies/{STUDY}/records.jsonl").open())
    records = {name_of({**entry, **entry["budget"]}): entry["scores"][0] for entry in lines}
    found = {name_of(entry.data.params): entry for entry in mlflow_runs(STUDY)}
    assert len(found) == len(mlflow_runs(STUDY))
    assert found.keys() == records.keys()
    assert {phase for phase, *_ in found} == {"search", "tuning", "comparison"}
    for name, score in records.items():
        entry = found[name]
        assert entry.data.metrics["quality"] == score["quality"]
        assert entry.info.status == "FINISHED"
        assert entry.info.end_time - entry.info.start_time == round(1000 * score["seconds"])
    experiment = mlflow_client.get_experiment_by_name(STUDY)
    assert experiment.tags["found"] == answer.result["found"]


def test_mlflow_server_that_does_not_answer_is_refused_before_training(
    run, short, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    line = run(*short).refusal()
    assert "MLFLOW_TRACKING_URI" in line and "secret" not in line
    assert not (tmp_path / "studies").exists()
