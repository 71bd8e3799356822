"""The storage's URL from the environment: taken where none is given, and never shown."""

import optuna
import pytest

from autoprune.cli.results import command_line

SECRET = "open-sesame"
URL = f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/studies?sslmode=verify-full"


@pytest.mark.parametrize("name", ["search", "worker"])
def test_the_help_names_the_variable_and_not_its_value(run, name, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    out = run(name, "--help").out
    assert "AUTOPRUNE_STORAGE" in out
    assert SECRET not in out and "127.0.0.1" not in out


@pytest.mark.parametrize(
    "url", ["pg://ann@h/d?password=secret&x=1", "pg://ann:secret@h/d?sslpassword=secret"]
)
@pytest.mark.parametrize("option", [["--storage"], []])
def test_the_command_that_is_recorded_has_no_password(url, option):
    typed = [*option, url] if option else [f"--storage={url}"]
    told = command_line(["search", *typed, "--label", "a=b://c"])
    assert "secret" not in told
    assert "ann" in told
    assert "a=b://c" in told


def test_a_worker_takes_the_storage_from_it_and_shows_no_password(run, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    monkeypatch.setattr("autoprune.storage.storage._PAUSES", ())
    answer = run("worker", "one")
    [line] = answer.lines
    assert answer.code == 2 and "ann:***@127.0.0.1:1" in line
    assert SECRET not in answer.out + answer.err


def test_a_search_keeps_its_study_there_unless_told_otherwise(
    run, command, searched, here, monkeypatch
):
    url = "sqlite:///variable.db"
    monkeypatch.setenv("AUTOPRUNE_STORAGE", url)
    short = ["--trials", 1, "--seeds", 1, "--full-epochs", 1, "--strategy", "top"]
    assert run(*command, *short).code == 0
    assert optuna.get_all_study_names(url) == ["tiny-own-keep2"]
    assert run(*command, *short, "--study", "two", "--storage", "sqlite:///given.db").code == 0
    assert optuna.get_all_study_names("sqlite:///given.db") == ["two"]
    assert optuna.get_all_study_names(url) == ["tiny-own-keep2"]


def test_other_commands_do_not_read_it(run, copy, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_STORAGE", URL)
    answer = run("report", "tiny-own-keep2")
    assert answer.code == 0, answer.err
    assert SECRET not in answer.out + answer.err
