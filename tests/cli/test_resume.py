"""Resuming: a command that was stopped or killed keeps what it measured, and ends as if never."""

import json
import shutil
import signal

import pytest

# The program saves each step, and prints where a run resumes. It waits to be killed after one step
# of one run: RUN/STEP.
EACH_STEP = """
import sys, time
from autoprune.cli import main
from autoprune.training import evaluator
from autoprune.training.checkpoint import CheckpointFile

CheckpointFile.__init__.__defaults__ = (0, 1e9)
train, stop_at = evaluator.train, sys.argv.pop(1)
runs = 0

def train_slowly(state, *rest):
    global runs
    runs += 1
    if state.steps:
        print("resumes after", state.steps, flush=True, file=sys.stderr)
    for step in train(state, *rest):
        yield step
        if f"{runs}/{step}" == stop_at:
            print("waits", flush=True, file=sys.stderr)
            time.sleep(600)

evaluator.train = train_slowly
main()
"""


def records(folder):
    return folder.joinpath("studies/tiny-own-keep2/records.jsonl").read_text().splitlines()


@pytest.mark.slow
def test_resume_after_kills_in_search_and_comparison_gives_the_same_result(
    stop, run, resumable, tmp_path, undisturbed
):
    assert stop(resumable, "trial   3/6", signal.SIGKILL).code == -signal.SIGKILL
    searched = records(tmp_path)
    assert 3 <= len(searched) < 6

    assert stop(resumable, "run   3/10", signal.SIGKILL).code == -signal.SIGKILL
    compared = records(tmp_path)
    assert compared[: len(searched)] == searched
    assert 6 + 2 <= len(compared) < len(records(undisturbed.folder))

    stopped = stop(resumable, "run   5/10", signal.SIGTERM)
    assert stopped.code == 143
    assert stopped.lines[-1].endswith("of 10 runs are kept; the same command again goes on")

    answer = run(*resumable)
    assert answer.result == undisturbed.answer.result
    assert answer.result["repeated"] == 0
    assert records(tmp_path)[: len(compared)] == compared
    assert len(records(tmp_path)) == len(records(undisturbed.folder))


@pytest.mark.slow
def test_resume_after_ctrl_c_in_the_search_gives_the_same_result(
    stop, run, resumable, tmp_path, undisturbed
):
    stopped = stop(resumable, "trial   2/6", signal.SIGINT)
    assert (stopped.code, stopped.out) == (130, "")
    kept = records(tmp_path)
    assert stopped.lines[-1].startswith(f"stopped: {len(kept)} finished trials are kept, best so ")
    assert stopped.lines[-1].endswith("the same command again goes on")
    assert not tmp_path.joinpath("reports").exists()

    answer = run(*resumable)
    assert answer.result == undisturbed.answer.result
    assert records(tmp_path)[: len(kept)] == kept


@pytest.mark.slow
def test_resume_after_ctrl_c_with_two_processes_gives_the_same_result(
    stop, run, model, task, tmp_path
):
    command = [
        *("baseline", "--model", model, "--task", task, "--keep", 2, "--seeds", 2, "--json"),
        *("--full-epochs", 5, "--batch", 8, "--learning-rate", 0.02, "--strategy", "top"),
    ]
    stopped = stop([*command, "--workers", 2], "run   2/6", signal.SIGINT)
    assert (stopped.code, stopped.out) == (130, "")
    assert "of 6 runs are kept; the same command again goes on" in stopped.lines[-1]
    assert not any("Traceback" in line for line in stopped.lines)
    kept = records(tmp_path)

    answer = run(*command, "--workers", 1)
    assert records(tmp_path)[: len(kept)] == kept
    shutil.rmtree(tmp_path / "studies")
    assert run(*command, "--workers", 1).result == answer.result


@pytest.mark.slow
def test_resume_within_a_run_starts_at_its_last_checkpoint(start, run, model, task, tmp_path):
    command = [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 2),
        *("--epochs", 2, "--full-epochs", 3, "--seeds", 1, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--workers", 1, "--json"),
    ]
    (tmp_path / "whole").mkdir()
    whole = run(*command, folder=tmp_path / "whole").result
    checkpoints = tmp_path / "studies/tiny-own-keep2/.checkpoints"
    lines = []
    # The first run measures a step's time; then come two trials, and the comparison.
    for stop_at in ("3/9", "3/5", "never"):
        with start(stop_at, *command, folder=tmp_path, code=EACH_STEP) as process:
            for line in process.stderr:
                lines.append(line)
                if line == "waits\n":
                    assert len(list(checkpoints.iterdir())) == 1
                    process.send_signal(signal.SIGKILL)
            out = process.stdout.read()
    stops = [line for line in lines if line.startswith(("resumes after", "waits"))]
    assert stops == ["waits\n", "resumes after 9\n", "waits\n", "resumes after 5\n"]
    result = json.loads(out)
    del result["seconds"]
    assert result == whole
    assert not checkpoints.exists()
