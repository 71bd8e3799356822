"""Public names: what only the author has is replaced in commands; known and hub names stay."""

import shlex
from pathlib import Path

import pytest
import typer

from autoprune.cli.app import app
from autoprune.export.public_names import has_placeholders, public_command, public_model

COMMANDS = {
    "autoprune search -m muril -t org/data:mr -k 2 --text 'a/b'": None,
    "autoprune search -m google/muril@main --task demo --teacher full --ray auto": None,
    "autoprune export my-study --out model --push org/model --layout 5:0,2": None,
    "autoprune search --model='/home/my models/x' -t'../a b.JSONL' -mx": (
        "autoprune search --model=MODEL_FOLDER -tDATA.jsonl -mMODEL_FOLDER"
    ),
    "autoprune search -m muril --task own --rival ~/r --data-dir . --config study.toml": (
        "autoprune search -m muril --task DATA_FOLDER --rival MODEL_FOLDER --data-dir DATA_FOLDER "
        "--config CONFIG.toml"
    ),
    "autoprune search --storage postgresql+psycopg://me:***@host/db --ray 10.0.0.1:6379": (
        "autoprune search --storage STORAGE_URL --ray HOST:PORT"
    ),
    "autoprune export --force /home/me/studies/s --out ../m --corpus a.txt --corpus=b": (
        "autoprune export --force s --out m --corpus TEXTS.txt --corpus=TEXTS.txt"
    ),
    "autoprune reproduce plans/mine.toml": "autoprune reproduce CONFIG.toml",
    "autoprune pretrain --from ./x --tokenizer org/x --corpus a --out /tmp/o": (
        "autoprune pretrain --from MODEL_FOLDER --tokenizer org/x --corpus TEXTS.txt --out o"
    ),
    r"autoprune export 'C:\Users\me\studies\s' --out 'C:\m'": "autoprune export s --out m",
    'autoprune search "half': """autoprune search '"half'""",
    "autoprune.export_model('/home/me/studies/s')": "autoprune.export_model('s')",
    "autoprune.run_search(StudyConfig.from_dict({'model': './x', 'task': 'a.csv', 'data': "
    "{'text': 'a/b', 'data_dir': '/d'}, 'comparison': {'rivals': ['muril', '/r']}, 'keep': 2}))": (
        "autoprune.run_search(StudyConfig.from_dict({'model': 'MODEL_FOLDER', 'task': 'DATA.csv', "
        "'data': {'text': 'a/b', 'data_dir': 'DATA_FOLDER'}, 'comparison': {'rivals': ['muril', "
        "'MODEL_FOLDER']}, 'keep': 2}))"
    ),
    "autoprune.export_model('/home/me": "",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_placeholders_for_what_only_its_author_has(command):
    expected = COMMANDS[command]
    public = public_command(command if expected is not None else shlex.join(shlex.split(command)))
    assert public == (shlex.join(shlex.split(command)) if expected is None else expected)
    assert has_placeholders([public]) is any(
        word in public for word in ("_FOLDER", "_URL", "TEXTS", "CONFIG", "DATA.", "PORT")
    )


def test_folder_that_looks_like_a_name_of_the_hub_is_one(tmp_path):
    assert public_model("org/model") == "org/model"
    Path("org/model").mkdir(parents=True)
    assert public_model("org/model") == ""
    assert public_command("autoprune search -m org/model -t org") == (
        "autoprune search -m MODEL_FOLDER -t DATA_FOLDER"
    )


def path_options():
    commands = typer.main.get_command(app).commands
    for name in ("search", "baseline", "export", "reproduce", "worker", "pretrain"):
        for option in commands[name].params:
            is_path = "pathlib" in str(option.type_descriptor.annotation)
            if is_path and option.param_type_name == "option":
                yield from (flag for flag in option.opts if flag.startswith("--"))


@pytest.mark.parametrize("flag", sorted({*path_options()}))
def test_every_option_that_takes_a_path_is_replaced(flag):
    for path in ("/home/me/secret.csv", "secret", "secret/file.txt"):
        public = public_command(f"autoprune search {flag} {path} {flag}={path}")
        assert "/" not in public
        assert "secret" not in public or flag == "--out"
