"""Fixtures of a tiny model and task on disk, and of the command, in this process or in its own."""

import csv
import os
import random
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from command import run as command_here
from tiny_models import NUMBERS, save_model

TRIALS = 6
LABELS = ("खेळ", "राज्य", "देश")


@pytest.fixture(scope="session")
def run():
    """Return a function that runs the command in this process, in `folder` if one is given.

    It trains with one thread: tiny models are slow on several.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoprune.experiment.setup.available_cores", lambda: 1)
        yield command_here


@pytest.fixture(scope="session")
def start():
    """Return a function that starts the command in a new process, in a folder.

    `code` is a program to run in place of `python -m autoprune`.
    """

    def start(*arguments, folder, code=None):
        program = ["-m", "autoprune"] if code is None else ["-c", code]
        return subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    return start


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Return the folder of a tiny BERT with five layers."""
    return save_model("bert", tmp_path_factory.mktemp("models") / "tiny")


def write_rows(path, rows, header=("text", "label")):
    """Write rows as a CSV file, its folder made, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _rows(count, seed):
    """Draw texts that have the word of their label two to four times, among others."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        words = [NUMBERS[index % 3]] * draw.randint(2, 4) + draw.choices(NUMBERS, k=7)
        draw.shuffle(words)
        rows.append((" ".join(words), LABELS[index % 3]))
    return rows


@pytest.fixture(scope="session")
def write():
    return write_rows


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    """Return the folder of a task with 60, 24 and 30 rows.

    One validation row is also in train, and two test rows are the same text.
    """
    folder = tmp_path_factory.mktemp("tasks") / "own"
    train, test = _rows(60, 1), _rows(29, 3)
    write_rows(folder / "train.csv", train)
    write_rows(folder / "validation.csv", [*_rows(23, 2), train[0]])
    write_rows(folder / "test.csv", [*test, test[0]])
    return folder


@pytest.fixture
def stop(start, tmp_path):
    """Return a function that starts a command and sends it a signal when it says `when`."""

    def stop(command, when, number):
        with start(*command, folder=tmp_path) as process:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith(when):
                    process.send_signal(number)
                    break
            out, err = process.communicate(timeout=60)
        assert lines and lines[-1].startswith(when), "".join(lines)
        return SimpleNamespace(code=process.returncode, out=out, lines=err.splitlines())

    return stop


@pytest.fixture(scope="session")
def command(model, task):
    """Return the arguments of a search of 6 of 10 layouts, compared on two seeds."""
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", TRIALS),
        *("--epochs", 4, "--full-epochs", 4, "--seeds", 2, "--batch", 16, "--learning-rate", 0.02),
        *("--workers", 1, "--no-race", "--rival", model.parent / "small", "--json"),
    ]


@pytest.fixture(scope="session")
def searched(run, command, model, tmp_path_factory):
    """Run the search once; return its folder and its answer."""
    shutil.copytree(model, model.parent / "small", dirs_exist_ok=True)
    folder = tmp_path_factory.mktemp("searched")
    return SimpleNamespace(folder=folder, answer=run(*command, folder=folder))


@pytest.fixture
def copy(searched, tmp_path):
    """Return a copy of the searched folder, which is the working folder."""
    return shutil.copytree(searched.folder, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory):
    """Return the URL of a database for MLflow, which takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


@pytest.fixture
def mlflow_client(mlflow_database, monkeypatch):
    """Return a client of the database that `MlflowTracker` writes to."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_database)
    return MlflowClient(mlflow_database)


@pytest.fixture
def mlflow_runs(mlflow_client):
    """Return a function that lists the runs of a study."""

    def mlflow_runs(study):
        experiment = mlflow_client.get_experiment_by_name(study)
        return mlflow_client.search_runs([experiment.experiment_id])

    return mlflow_runs
