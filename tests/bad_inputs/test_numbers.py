"""Numbers without reason: each option of each command that takes a number has bounds."""

import pytest
import typer

from autoprune.cli.app import app
from autoprune.errors import OptionError
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.reproduction.plan import read_plan

COMMANDS = typer.main.get_command(app).commands
NUMBERS = [
    (name, parameter.opts[0], parameter.type_descriptor.annotation)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.type_descriptor.annotation in (int, float)
]
BAD = {
    int: [
        "99999999999999999999",
        "-99999999999999999999",
        "9" * 5000,
        "nan",
        "inf",
        "1e3",
        "٣٫٥",
        "",
    ],
    float: ["1e300", "-1e300", "nan", "inf", "-inf", "1e999", "9" * 5000, "many", ""],
}


def test_numbers_of_all_commands_were_found():
    options = {(name, option) for name, option, _ in NUMBERS}
    assert len(options) > 40
    assert {("search", "--epochs"), ("search", "--minutes"), ("cost", "--rounds")} <= options


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [(name, option, text) for name, option, kind in NUMBERS for text in BAD[kind]],
    ids=lambda value: value[:24],
)
def test_option_refuses_a_number_without_reason(refused, name, option, text):
    refused(name, f"{option}={text}", words=[option])


FIELDS = [
    (name, value)
    for name in ("epochs", "full_epochs", "batch", "parts", "tokens", "seeds", "trials", "seed")
    for value in (10**20, -(10**20), float("inf"), float("nan"))
] + [
    (name, value)
    for name in ("minutes", "learning_rate")
    for value in (1e300, -1.0, float("inf"), float("nan"))
]


@pytest.mark.parametrize(("name", "value"), FIELDS)
def test_setting_of_python_or_a_file_refuses_a_number_without_reason(name, value):
    with pytest.raises(OptionError, match=name):
        StudyConfig.from_options(model="demo", task="demo", keep=2, **{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
def test_share_of_a_gpu_is_a_finite_number(value):
    with pytest.raises(OptionError, match="gpus_per_worker"):
        RunOptions(gpus_per_worker=value)


def test_plan_refuses_a_number_without_reason(tmp_path):
    plan = tmp_path / "mine.toml"
    plan.write_text('models = ["demo"]\ntasks = ["demo"]\nkeeps = [2]\ntrials = 99999999999\n')
    with pytest.raises(Exception, match="plan mine: trials must be less than or equal to 1000000"):
        read_plan(plan)
