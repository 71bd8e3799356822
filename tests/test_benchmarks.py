"""The benchmarks that train in several processes, each on a tiny model, as they are run by hand."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_benchmark(name, *arguments):
    """Run a benchmark with two processes and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, ROOT / "benchmarks" / name, *arguments]
    return subprocess.run(
        [str(part) for part in command],
        env=environment | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is one process")
def test_table_is_trained_in_two_processes_and_resumed(model, task, tmp_path):
    command = ("search/exhaustive.py", model, task, task.parent, "--keep", 4, "--epochs", 1)
    assert run_benchmark(*command, "--out", tmp_path).startswith("5 runs to do, 0 done")
    with (tmp_path / "quick.csv").open(encoding="utf-8") as file:
        layouts = [row["layout"] for row in csv.DictReader(file)]
    assert len(layouts) == len(set(layouts)) == 5
    assert run_benchmark(*command, "--out", tmp_path) == "0 runs to do, 5 done\n"
