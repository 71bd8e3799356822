"""The crew: same results in other processes, mishaps told, nothing left behind."""

import multiprocessing
import os
import time

import pytest
import torch

from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.scoring.crew import Crew, cores, workers_for


def fail():
    raise TrialError("planted")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_errors_come_back_in_any_order(workers):
    with Crew(workers) as crew:
        waits = [crew.start(divmod, number, 3) for number in range(4)]
        failing = crew.start(fail)
        assert [wait() for wait in reversed(waits)] == [divmod(n, 3) for n in (3, 2, 1, 0)]
        with pytest.raises(TrialError, match="planted"):
            failing()


def test_a_bench_scores_the_same_in_another_process(bench):
    bench.measure(Layout(4, (0, 2)), 0)
    with Crew(2) as crew:
        there = crew.start(bench.measure, Layout(4, (0, 2)), 3)()
        assert crew.start(torch.get_num_threads)() == crew.threads
    here = bench.measure(Layout(4, (0, 2)), 3)
    assert (there.quality, there.loss) == (here.quality, here.loss)


def test_a_process_killed_from_outside_fails_the_run_not_the_program():
    with Crew(2) as crew, pytest.raises(TrialError, match="--workers 1"):
        crew.start(os._exit, 1)()


def test_leaving_in_haste_ends_the_processes():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Crew(2) as crew:
        crew.start(len, "up")()
        crew.start(time.sleep, 600)
        raise KeyboardInterrupt
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 60


def test_a_narrow_model_on_a_processor_gets_a_process_for_each_core():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert workers_for(128, cpu) == cores()
    assert workers_for(768, cpu) == workers_for(128, cuda) == 1
