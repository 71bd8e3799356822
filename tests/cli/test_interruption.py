"""Killed or stopped by Ctrl-C: what was measured is kept, and the same command goes on."""

import shutil
import signal
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def command(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 6),
        *("--epochs", 5, "--full-epochs", 3, "--seeds", 2, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--strategy", "middle", "--workers", 1, "--json"),
    ]


@pytest.fixture(scope="module")
def undisturbed(run, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return SimpleNamespace(folder=folder, answer=run(*command, folder=folder))


def records(folder):
    return folder.joinpath("studies/tiny-own-keep2/records.jsonl").read_text().splitlines()


def test_killed_in_the_search_and_again_in_the_comparison(stop, run, command, here, undisturbed):
    assert stop(command, "trial   3/6", signal.SIGKILL).code == -signal.SIGKILL
    searched = records(here)
    assert 3 <= len(searched) < 6

    assert stop(command, "run   3/10", signal.SIGKILL).code == -signal.SIGKILL
    compared = records(here)
    assert compared[: len(searched)] == searched
    assert 6 + 2 <= len(compared) < len(records(undisturbed.folder))

    stopped = stop(command, "run   5/10", signal.SIGTERM)
    assert stopped.code == 143
    assert stopped.lines[-1].endswith("of 10 runs are kept; the same command again goes on")

    answer = run(*command)
    assert answer.result == undisturbed.answer.result
    assert answer.result["repeated"] == 0
    assert records(here)[: len(compared)] == compared
    assert len(records(here)) == len(records(undisturbed.folder))


def test_ctrl_c_in_the_search(stop, run, command, here, undisturbed):
    stopped = stop(command, "trial   2/6", signal.SIGINT)
    assert (stopped.code, stopped.out) == (130, "")
    kept = records(here)
    assert stopped.lines[-1].startswith(f"stopped: {len(kept)} finished trials are kept, best so ")
    assert stopped.lines[-1].endswith("the same command again goes on")
    assert not here.joinpath("reports").exists()

    answer = run(*command)
    assert answer.result == undisturbed.answer.result
    assert records(here)[: len(kept)] == kept


def test_ctrl_c_in_a_comparison_of_two_processes(stop, run, model, task, here):
    command = [
        *("baseline", "--model", model, "--task", task, "--keep", 2, "--seeds", 2, "--json"),
        *("--full-epochs", 5, "--batch", 8, "--learning-rate", 0.02, "--strategy", "top"),
    ]
    stopped = stop([*command, "--workers", 2], "run   2/6", signal.SIGINT)
    assert (stopped.code, stopped.out) == (130, "")
    assert "of 6 runs are kept; the same command again goes on" in stopped.lines[-1]
    assert not any("Traceback" in line for line in stopped.lines)
    kept = records(here)

    answer = run(*command, "--workers", 1)
    assert records(here)[: len(kept)] == kept
    shutil.rmtree(here / "studies")
    assert run(*command, "--workers", 1).result == answer.result
