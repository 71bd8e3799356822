"""Option --storage: its URL is read from the environment by default, and is never shown."""

import optuna
import pytest

from autoprune.cli.results import command_line

SECRET = "open-sesame"
URL = f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/studies?sslmode=verify-full"


@pytest.mark.parametrize("name", ["search", "worker"])
def test_storage_variable_is_in_the_help_without_its_value(run, name, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    out = run(name, "--help").out
    assert "AUTOPRUNE_STORAGE" in out
    assert SECRET not in out and "127.0.0.1" not in out


@pytest.mark.parametrize(
    "url", ["pg://ann@h/d?password=secret&x=1", "pg://ann:secret@h/d?sslpassword=secret"]
)
@pytest.mark.parametrize("option", [["--storage"], []])
def test_recorded_command_has_no_password(url, option):
    typed = [*option, url] if option else [f"--storage={url}"]
    command = command_line(["search", *typed, "--label", "a=b://c"])
    assert "secret" not in command
    assert "ann" in command
    assert "a=b://c" in command


def test_storage_variable_is_read_by_a_worker_which_shows_no_password(run, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    monkeypatch.setattr("autoprune.storage.storage._CONNECT_DELAYS", ())
    answer = run("worker", "one")
    assert "ann:***@127.0.0.1:1" in answer.refusal()
    assert SECRET not in answer.out + answer.err


def test_storage_variable_is_read_by_a_search_without_the_option(
    run, command, searched, tmp_path, monkeypatch
):
    url = "sqlite:///variable.db"
    monkeypatch.setenv("AUTOPRUNE_STORAGE", url)
    short = ["--trials", 1, "--seeds", 1, "--full-epochs", 1, "--strategy", "top"]
    assert run(*command, *short).code == 0
    assert optuna.get_all_study_names(url) == ["tiny-own-keep2"]
    assert run(*command, *short, "--study", "two", "--storage", "sqlite:///given.db").code == 0
    assert optuna.get_all_study_names("sqlite:///given.db") == ["two"]
    assert optuna.get_all_study_names(url) == ["tiny-own-keep2"]


def test_storage_variable_is_not_read_by_report(run, copy, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    answer = run("report", "tiny-own-keep2")
    assert answer.code == 0, answer.err
    assert SECRET not in answer.out + answer.err
