"""The crew: same results in other processes, mishaps told, nothing left behind."""

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

from autoprune import interrupts
from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.training.checkpoint import CheckpointFile
from autoprune.training.workers import WorkerPool, available_cores, default_workers, device_for


def fail():
    raise TrialError("planted")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_errors_come_back_in_any_order(workers):
    with WorkerPool(workers) as crew:
        waits = [crew.start(divmod, number, 3) for number in range(4)]
        failing = crew.start(fail)
        assert [wait() for wait in reversed(waits)] == [divmod(n, 3) for n in (3, 2, 1, 0)]
        with pytest.raises(TrialError, match="planted"):
            failing()


def test_a_bench_scores_the_same_in_another_process(bench):
    bench.measure(Layout(4, (0, 2)), 0)
    with WorkerPool(2) as crew:
        there = crew.start(bench.measure, Layout(4, (0, 2)), 3)()
        assert crew.start(torch.get_num_threads)() == crew.threads
    here = bench.measure(Layout(4, (0, 2)), 3)
    assert (there.quality, there.loss) == (here.quality, here.loss)


def counted(load, journal, deadly, seed):
    """Load a model that writes a line at each call, and kills its process at the `deadly` ones."""
    model = load(seed)

    def count(*_):
        with journal.open("a") as lines:
            lines.write("called\n")
        if len(journal.read_text().splitlines()) in deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(count)
    return model


def calls(journal):
    return len(journal.read_text().splitlines())


def test_a_run_whose_process_is_killed_goes_on_in_another(bench, tmp_path):
    whole, kept = tmp_path / "whole", CheckpointFile(tmp_path / "run", seconds=0, share=1e9)
    undisturbed = replace(bench, load=partial(counted, bench.load, whole, ())).measure(
        Layout(4, (0, 2)), 3
    )
    with WorkerPool(2) as crew:
        killed = replace(bench, load=partial(counted, bench.load, tmp_path / "killed", (9,)))
        wait = crew.start(killed.measure, Layout(4, (0, 2)), 3, saved=kept)
        assert replace(wait(), seconds=0) == replace(undisturbed, seconds=0)
    assert calls(tmp_path / "killed") == calls(whole) + 1  # the call that killed was made again


def test_a_job_that_ends_its_process_three_times_fails_alone(tmp_path):
    with WorkerPool(2) as crew:
        deadly = crew.start(os._exit, 1)
        others = [crew.start(divmod, number, 3) for number in range(3)]
        with pytest.raises(TrialError, match=r"ended from outside 3 times.*--workers 1"):
            deadly()
        assert [other() for other in others] == [divmod(number, 3) for number in range(3)]


def test_runs_that_are_asked_to_leave_keep_their_state_first(bench, tmp_path):
    kept = [CheckpointFile(tmp_path / name, seconds=1000) for name in ("one", "other")]
    long = replace(bench, budget=replace(bench.budget, steps=1_000_000))
    slow = replace(long, load=partial(counted, bench.load, tmp_path / "calls", ()))
    with WorkerPool(2) as crew:
        waits = [crew.start(slow.measure, Layout(4, (0, 2)), 3, saved=place) for place in kept]
        waits.append(crew.start(len, "never begun"))
        Thread(target=_ask_after, args=(tmp_path / "calls",)).start()
        try:
            for wait in waits:
                with pytest.raises(KeyboardInterrupt):
                    wait()
        finally:
            interrupts.clear_stop()
    assert any(place.path.exists() for place in kept)  # one may not have begun yet


def _ask_after(journal):
    while not journal.exists():
        time.sleep(0.01)
    interrupts.request_stop()


ORPHANS = """
import multiprocessing, time
from autoprune.training.workers import WorkerPool

if __name__ == "__main__":
    with WorkerPool(2) as crew:
        waits = [crew.start(time.sleep, 600) for _ in range(2)]
        while not all(hand.ready for hand in crew._hands):
            crew._look()
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        waits[0]()
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
    """Tell whether a process runs; one that ended and waits for init to say so does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_each_process_sees_a_gpu_of_its_own():
    assert [device_for(number, None, 2) for number in range(4)] == ["0", "1", "0", "1"]
    assert [device_for(number, "GPU-a,GPU-b", 2) for number in range(2)] == ["GPU-a", "GPU-b"]
    assert device_for(3, None, 0) is None


def test_leaving_in_haste_ends_the_processes():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), WorkerPool(2) as crew:
        crew.start(len, "up")()
        crew.start(time.sleep, 600)
        raise KeyboardInterrupt
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 60


def test_a_narrow_model_on_a_processor_gets_a_process_for_each_core():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert default_workers(128, cpu) == available_cores()
    assert default_workers(768, cpu) == default_workers(128, cuda) == 1
