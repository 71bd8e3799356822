"""The dashboard command: which studies it opens, how, and what it refuses."""

import shutil

import optuna
import pytest
from optuna_dashboard import get_note

from autoprune.storage.storage import open_storage

NAME = "tiny-own-keep2"


@pytest.fixture
def served(monkeypatch):
    """Return a list of what would be served, in place of serving it."""
    calls = []

    def serve(storages, port, **rest):
        studies = [study.study_name for storage in storages for study in storage.get_all_studies()]
        rest["ready"](f"http://127.0.0.1:{port}/dashboard/")
        calls.append({"studies": studies, "port": port, **rest})

    monkeypatch.setattr("autoprune.search.dashboard.serve", serve)
    return calls


def test_dashboard_opens_all_studies_read_only(run, copy, served):
    other = open_storage(None, copy / "studies" / "other")
    optuna.create_study(storage=other, study_name="other")
    answer = run("dashboard")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "http://127.0.0.1:8080/dashboard/ until Ctrl-C\n"
    [call] = served
    assert call["studies"] == ["other", NAME]
    assert (call["port"], call["writable"], call["browser"]) == (8080, False, True)


@pytest.mark.parametrize("name", [NAME, f"studies/{NAME}"])
def test_dashboard_opens_one_study(run, copy, served, name):
    answer = run("dashboard", name, "--port", 8391, "--no-browser", "--writable")
    assert answer.code == 0, answer.err
    [call] = served
    assert call["studies"] == [NAME]
    assert (call["port"], call["writable"], call["browser"]) == (8391, True, False)


def test_dashboard_opens_a_database_by_its_url(run, tmp_path, served):
    optuna.create_study(storage="sqlite:///own.db", study_name="mine")
    assert run("dashboard", "sqlite:///own.db").code == 0
    assert served[0]["studies"] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no studies here: run `autoprune search` first"),
        (["nowhere"], "no study 'nowhere' below studies"),
        (["sqlite:///nowhere.db"], "no storage sqlite:///nowhere.db: there is no file"),
        (["mysql://me:secret@host/db"], "a storage is an sqlite or a postgresql+psycopg URL"),
        (["--port", 0], "Invalid value for '--port'"),
    ],
)
def test_dashboard_refuses_a_missing_study_and_creates_nothing(
    run, tmp_path, served, arguments, words
):
    before = sorted(tmp_path.rglob("*"))
    answer = run("dashboard", *arguments)
    assert (answer.code, answer.out, len(answer.lines), served) == (2, "", 1, [])
    assert words in answer.err
    assert "secret" not in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_dashboard_suggests_a_similar_study(run, copy, served):
    answer = run("dashboard", "tiny-own-kep2")
    assert (answer.code, served) == (2, [])
    assert f"did you mean '{NAME}'?" in answer.err


def test_dashboard_refuses_a_study_without_a_journal(run, copy, served):
    (copy / "studies" / NAME / "journal.log").unlink()
    answer = run("dashboard", NAME)
    assert (answer.code, len(answer.lines), served) == (2, 1, [])
    assert "name the URL if the trials are in a database" in answer.err
    assert not (copy / "studies" / NAME / "journal.log").exists()


def test_dashboard_note_of_a_finished_search_has_two_plots(copy):
    storage = open_storage(None, copy / "studies" / NAME)
    study = optuna.load_study(study_name=NAME, storage=storage)
    note = get_note(study)
    assert note.count("## ") == 3
    assert "Recommended: " in note or "Nothing is recommended" in note
    titles = {
        key.split(":")[2]
        for key in storage.get_study_system_attrs(study._study_id)
        if key.startswith("dashboard:plot_data:")
    }
    assert titles == {"layer-effects", "layout-map"}


def test_dashboard_note_of_an_interrupted_search_describes_it(run, command, copy, monkeypatch):
    shutil.rmtree(copy / "studies")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("autoprune.experiment.pipeline.search_layouts", stop)
    run(*command)
    storage = open_storage(None, copy / "studies" / NAME)
    note = get_note(optuna.load_study(study_name=NAME, storage=storage))
    assert "Which 2 of the 5 layers of tiny@" in note
    assert "खेळ" in note
    assert "None yet" in note
