"""Killed in the middle of a run: the same command goes on from the run's last checkpoint."""

import json
import os
import signal
import subprocess
import sys

import pytest

# Each step is kept, and said; a run that is told to rests behind its step, to be killed there.
CODE = """
import sys, time
from autoprune.cli import main
from autoprune.training import evaluator
from autoprune.training.checkpoint import CheckpointFile

CheckpointFile.__init__.__defaults__ = (0, 1e9)
plain, rest = evaluator.train, sys.argv.pop(1)
begun = 0

def train(course, *others):
    global begun
    begun += 1
    if course.steps:
        print("goes on", course.steps, flush=True, file=sys.stderr)
    for done in plain(course, *others):
        yield done
        if f"{begun}/{done}" == rest:
            print("rests", flush=True, file=sys.stderr)
            time.sleep(600)

evaluator.train = train
main()
"""


@pytest.fixture
def begin(here):
    """Return a function that begins a command which keeps each step, and rests behind one."""

    def begin(rest, command):
        return subprocess.Popen(
            [sys.executable, "-c", CODE, rest, *map(str, command)],
            cwd=here,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    return begin


def test_a_trial_and_a_run_of_the_comparison_go_on_where_they_were(begin, run, model, task, here):
    command = [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 2),
        *("--epochs", 2, "--full-epochs", 3, "--seeds", 1, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--workers", 1, "--json"),
    ]
    (here / "whole").mkdir()
    whole = run(*command, folder=here / "whole").result
    study = here / "studies/tiny-own-keep2"
    heard = []
    # The first run measures a step's time; then come two trials, and the comparison.
    for rest in ("3/9", "3/5", "never"):
        with begin(rest, command) as process:
            for line in process.stderr:
                heard.append(line)
                if line == "rests\n":
                    assert len(list(study.joinpath(".checkpoints").iterdir())) == 1
                    process.send_signal(signal.SIGKILL)
            out = process.stdout.read()
    told = [line for line in heard if line.startswith(("goes on", "rests"))]
    assert told == ["rests\n", "goes on 9\n", "rests\n", "goes on 5\n"]
    result = json.loads(out)
    del result["seconds"]
    assert result == whole
    assert not study.joinpath(".checkpoints").exists()
