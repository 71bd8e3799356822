"""A tiny model and task, and the search of a study by the real command."""

import csv
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import optuna
import pytest

from autoprune.evaluation.records import read_records
from autoprune.search.trial import is_finished_trial, run_of_trial
from autoprune.storage.storage import open_storage
from tiny_models import NUMBERS, save_model

DEPTH = 10
NAME = "tiny-own-keep5"
# A checkpoint at each step; a process over its file size limit dies of the signal in its write.
CODE = """
import signal
from autoprune.cli import main
from autoprune.training.checkpoint import CheckpointFile

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
CheckpointFile.__init__.__defaults__ = (0, 1e9)
main()
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a search of 252 layouts in a folder."""
    model = save_model("bert", tmp_path / "tiny", num_hidden_layers=DEPTH)
    draw, task = random.Random(3), tmp_path / "own"
    task.mkdir()
    for split, count in (("train", 120), ("validation", 30), ("test", 30)):
        rows = [("text", "label")]
        for index in range(count):
            words = [NUMBERS[index % 3]] * draw.randint(1, 3) + draw.choices(NUMBERS, k=7)
            rows.append((" ".join(words), "abc"[index % 3]))
        with (task / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    def start(folder, trials, epochs, workers):
        options = [
            *("search", "--model", model, "--task", task, "--keep", 5, "--trials", trials),
            *("--sampler", "random", "--epochs", epochs, "--full-epochs", epochs, "--seeds", 1),
            *("--batch", 8, "--learning-rate", 0.01, "--strategy", "top"),
            *("--workers", workers, "--json"),
        ]
        return subprocess.Popen(
            [sys.executable, "-c", CODE, *map(str, options)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=(tmp_path / f"{folder.name}.txt").open("w"),
            text=True,
        )

    return start


@pytest.fixture
def said(tmp_path):
    """Return a function of the lines that the last search in a folder said on standard error."""
    return lambda folder: (tmp_path / f"{folder.name}.txt").read_text().splitlines()


@pytest.fixture(scope="session")
def study_in():
    """Return a function that reads the study in a folder: finished trials, and all records."""

    def study_in(folder):
        study = folder / "studies" / NAME
        known = []
        if study.exists():
            storage = open_storage(None, study)
            if NAME in optuna.get_all_study_names(storage):
                known = optuna.load_study(study_name=NAME, storage=storage).trials
        return SimpleNamespace(
            folder=study,
            finished={
                t.number: (run_of_trial(t, DEPTH), t.value) for t in known if is_finished_trial(t)
            },
            records=sorted(
                (one.phase, one.origin, str(one.layout), one.seed, *(s.quality for s in one.scores))
                for one in read_records(study / "records.jsonl")
            ),
        )

    return study_in
