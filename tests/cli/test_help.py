"""Help with examples that parse, the lists, and shell completion by its own protocol."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from autoprune.choices import METRIC_NAMES
from autoprune.cli.app import app
from autoprune.cli.arguments import SearchArguments, StudyArguments
from autoprune.experiment.config import SECTIONS, StudyConfig
from autoprune.tasks.registry import TASKS

COMMANDS = typer.main.get_command(app).commands
AUTOPRUNE = Path(sys.executable).with_name("autoprune")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example_that_parses(run, name):
    answer = run(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Example: autoprune" in " ".join(answer.out.split())
    [example] = re.findall(r"Example: `autoprune (.*)`", COMMANDS[name].help)
    first, *arguments = shlex.split(example)
    assert first == name
    COMMANDS[name].make_context(name, arguments)  # raises where an option is unknown or missing


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_html(name):
    texts = [
        COMMANDS[name].help,
        *(getattr(parameter, "help", "") for parameter in COMMANDS[name].params),
    ]
    assert [text for text in texts if text and "<" in text] == []


@pytest.mark.parametrize("group", [StudyArguments, SearchArguments])
def test_help_shows_the_defaults_of_the_configuration(group):
    settings = {
        name: setting.default
        for section in (StudyConfig, *SECTIONS.values())
        for name, setting in section.model_fields.items()
        if not setting.is_required()
    }
    shown = {field.name: field.default for field in dataclasses.fields(group)}
    common = settings.keys() & shown.keys()
    assert len(common) > 5
    assert {name: str(shown[name] or None) for name in common} == {
        name: str(settings[name] or None) for name in common
    }


def test_help_of_search_has_panels_and_begins_with_ten_options():
    panels = {}
    for option in COMMANDS["search"].params:
        panels.setdefault(option.rich_help_panel or "", []).append(option.name)
    assert panels[""][:4] == ["model", "task", "keep", "trials"]
    assert len(panels.pop("")) == 10
    names = ["Data", "Model and training", "Search", "Comparison", "Compute", "Output"]
    assert list(panels) == names


def test_help_has_commands_in_groups(run):
    out = run("--help").out
    places = [out.index(f"─ {name} ─") for name in ("Search", "Results", "Take home", "More")]
    assert places == sorted(places)


def test_short_flags_are_known(run):
    assert run("search", "-h").out == run("search", "--help").out
    arguments = ["-m", "demo", "-t", "demo", "-k", "6", "-n", "3"]
    values = COMMANDS["search"].make_context("search", arguments).params
    assert [values[name] for name in ("model", "task", "keep", "trials")] == [
        "demo",
        "demo",
        "6",
        3,
    ]


@pytest.mark.parametrize(
    ("arguments", "key", "first"),
    [
        (
            ["models"],
            "models",
            {
                "name": "mahabert-v2",
                "source": "l3cube-pune/marathi-bert-v2",
                "language": "mr",
                "layers": 12,
            },
        ),
        (
            ["tasks"],
            "tasks",
            {
                "name": "shc",
                "source": "official:SHC",
                "language": "mr",
                "labels": 12,
                "tokens": 64,
                "metric": "accuracy",
            },
        ),
        (
            ["layouts", "--depth", 12, "--keep", 2],
            "layouts",
            {"strategy": "top", "layout": "12:0-1", "keep": [0, 1]},
        ),
    ],
)
def test_lists_as_json(run, arguments, key, first):
    assert json.loads(run(*arguments, "--json").out)[key][0] == first


def test_former_name_of_a_hub_model_is_corrected(run):
    answer = run("search", "--model", "bert-base-uncased", "--task", "demo", "--keep", 6)
    assert answer.code == 2
    assert "did you mean 'google-bert/bert-base-uncased'?" in answer.err


def test_help_names_all_commands(run):
    out = run("--help").out
    assert [name for name in COMMANDS if name not in out] == []


def test_help_is_shown_without_a_command(run):
    answer = run()
    assert answer.err == ""
    assert "baseline" in answer.out


def test_version_is_printed(run):
    assert re.fullmatch(r"autoprune \d+\.\d+\.\d+\n", run("--version").out)


def test_models_lists_the_known_models(run):
    out = run("models").out.splitlines()
    assert "l3cube-pune/marathi-bert-v2" in out[0]
    names = ["mahabert-v2", "muril", "mahabert-small", "mahabert-smaller", "demo"]
    assert [line.split()[0] for line in out] == names


def test_tasks_lists_the_known_tasks(run):
    lines = {line.split()[0]: line for line in run("tasks").out.splitlines()}
    assert set(lines) == {*TASKS}
    assert "official:LDC" in lines["ldc"]


def test_layouts_shows_each_strategy(run):
    assert run("layouts", "--depth", 12, "--keep", 6).out.splitlines() == [
        "top        ●●●●●●○○○○○○  12:0-5",
        "middle     ●●●○○○○○○●●●  12:0-2,9-11",
        "bottom     ○○○○○○●●●●●●  12:6-11",
        "alternate  ●○●○●○●○●○●○  12:0,2,4,6,8,10",
        "6 of 12 layers: 924 layouts",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, "Usage: autoprune "),
        (["layouts", "--depth", "3", "--keep", "3"], 2, "autoprune: keep must be 1 to 2, "),
    ],
)
def test_python_m_runs_the_same_command(arguments, code, message):
    done = subprocess.run(
        [sys.executable, "-m", "autoprune", *arguments], capture_output=True, text=True
    )
    assert done.returncode == code
    assert (done.stdout + done.stderr).strip().startswith(message)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("search --model maha", {"mahabert-v2", "mahabert-small", "mahabert-smaller"}),
        ("search --task l", {"lpc", "ldc"}),
        ("baseline --strategy ", {"top", "middle", "bottom", "alternate"}),
        ("search --rival mu", {"muril"}),
        ("search --sampler b", {"brute-force"}),
        ("search --pruner m", {"median"}),
        ("search --method l", {"lora"}),
        ("search --metric ", set(METRIC_NAMES)),
        ("search --device c", {"cpu", "cuda"}),
        ("mod", {"models"}),
        *((f"{name} o", {"one"}) for name in ("report", "export", "cost", "dashboard", "worker")),
        ("compare one p", {"plan/cell"}),
    ],
)
def test_completion_offers_matching_names(line, names, tmp_path):
    for study in ("one", "plan/cell"):
        (tmp_path / "studies" / study).mkdir(parents=True)
        (tmp_path / "studies" / study / "study.json").touch()
    done = subprocess.run(
        [AUTOPRUNE],
        cwd=tmp_path,
        env={
            **os.environ,
            "_AUTOPRUNE_COMPLETE": "complete_bash",
            "COMP_WORDS": f"autoprune {line}",
            "COMP_CWORD": str(len(f"autoprune {line}".split(" ")) - 1),
        },
        capture_output=True,
        text=True,
    )
    assert (set(done.stdout.split()), done.stderr) == (names, "")
