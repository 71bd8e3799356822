"""Process pool: the same results in other processes, errors reported, no process left over."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
import torch

from autoprune import processes
from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.training.checkpoint import CheckpointFile
from autoprune.training.workers import WorkerPool, available_cores, default_workers, device_for


def fail():
    raise TrialError("planted")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_errors_are_returned_in_any_order(workers):
    with WorkerPool(workers) as pool:
        results = [pool.start(divmod, number, 3) for number in range(4)]
        failing = pool.start(fail)
        assert [result() for result in reversed(results)] == [divmod(n, 3) for n in (3, 2, 1, 0)]
        with pytest.raises(TrialError, match="planted"):
            failing()


@pytest.mark.slow
def test_score_is_the_same_in_another_process(evaluator):
    evaluator.evaluate(Layout(4, (0, 2)), 0)
    with WorkerPool(2) as pool:
        remote = pool.start(evaluator.evaluate, Layout(4, (0, 2)), 3)()
        assert pool.start(torch.get_num_threads)() == pool.threads
    local = evaluator.evaluate(Layout(4, (0, 2)), 3)
    assert (remote.quality, remote.loss) == (local.quality, local.loss)


def load_counted(load, journal, deadly, seed):
    """Load a model that writes a line for each call, and kills its process at `deadly` ones."""
    model = load(seed)

    def count(*_):
        with journal.open("a") as lines:
            lines.write("called\n")
        if len(journal.read_text().splitlines()) in deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(count)
    return model


def count_calls(journal):
    return len(journal.read_text().splitlines())


@pytest.mark.slow
def test_run_whose_process_is_killed_resumes_in_another(evaluator, tmp_path):
    whole = tmp_path / "whole"
    file = CheckpointFile(tmp_path / "run", interval=0, max_share=1e9)
    undisturbed = replace(
        evaluator, load=partial(load_counted, evaluator.load, whole, ())
    ).evaluate(Layout(4, (0, 2)), 3)
    with WorkerPool(2) as pool:
        killed = replace(
            evaluator, load=partial(load_counted, evaluator.load, tmp_path / "killed", (9,))
        )
        result = pool.start(killed.evaluate, Layout(4, (0, 2)), 3, checkpoint=file)
        assert replace(result(), seconds=0) == replace(undisturbed, seconds=0)
    # The deadly call is repeated, and so are two in which each process tries a shorter last layer.
    assert count_calls(tmp_path / "killed") == count_calls(whole) + 1 + 2


def test_job_that_kills_its_process_three_times_fails_alone():
    with WorkerPool(2) as pool:
        deadly = pool.start(os._exit, 1)
        others = [pool.start(divmod, number, 3) for number in range(3)]
        with pytest.raises(TrialError, match=r"ended from outside 3 times.*--workers 1"):
            deadly()
        assert [other() for other in others] == [divmod(number, 3) for number in range(3)]


@pytest.mark.slow
def test_requested_stop_lets_runs_save_their_state(evaluator, tmp_path):
    files = [CheckpointFile(tmp_path / name, interval=1000) for name in ("first", "second")]
    long = replace(evaluator, budget=replace(evaluator.budget, steps=1_000_000))
    slow = replace(long, load=partial(load_counted, evaluator.load, tmp_path / "calls", ()))
    with WorkerPool(2) as pool:
        results = [
            pool.start(slow.evaluate, Layout(4, (0, 2)), 3, checkpoint=file) for file in files
        ]
        results.append(pool.start(len, "never started"))
        Thread(target=_request_stop_after, args=(tmp_path / "calls",)).start()
        try:
            for result in results:
                with pytest.raises(KeyboardInterrupt):
                    result()
        finally:
            processes.clear_stop()
    assert any(file.path.exists() for file in files)  # one may not have started yet


def _request_stop_after(journal):
    while not journal.exists():
        time.sleep(0.01)
    processes.request_stop()


ORPHANS = """
import multiprocessing, time
from autoprune.training.workers import WorkerPool

if __name__ == "__main__":
    with WorkerPool(2) as pool:
        results = [pool.start(time.sleep, 600) for _ in range(2)]
        while not all(worker.ready for worker in pool._workers):
            pool._poll()
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        results[0]()
"""


def test_no_process_outlives_its_parent(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    deadline = time.monotonic() + 20
    while (left := [pid for pid in children if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_each_process_sees_its_own_gpu():
    assert [device_for(number, None, 2) for number in range(4)] == ["0", "1", "0", "1"]
    assert [device_for(number, "GPU-a,GPU-b", 2) for number in range(2)] == ["GPU-a", "GPU-b"]
    assert device_for(3, None, 0) is None


def test_leaving_the_pool_kills_the_processes():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), WorkerPool(2) as pool:
        pool.start(len, "up")()
        pool.start(time.sleep, 600)
        raise KeyboardInterrupt
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 60


def test_narrow_model_on_a_processor_gets_a_process_for_each_core():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert default_workers(128, cpu) == available_cores()
    assert default_workers(768, cpu) == default_workers(128, cuda) == 1
