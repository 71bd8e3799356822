"""Shutdown: the first Ctrl-C or SIGTERM lets the current step end, the second one does not."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
import typer
from autoprune import processes
from autoprune.cli.shutdown import graceful_shutdown
try:
    with graceful_shutdown(lambda line: print(line, flush=True)):
        print("running", flush=True)
        while not (processes.stop_requested() and sys.argv[1] == "stops"):
            time.sleep(0.01)
        print("kept", flush=True)
        raise KeyboardInterrupt
except typer.Exit as end:
    print(processes.stop_requested(), flush=True)
    sys.exit(end.exit_code)
"""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    return request.param


def start(behaviour):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, behaviour], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "running\n"
    return process


def test_shutdown_by_one_signal_waits_for_the_current_step(number):
    with start("stops") as process:
        process.send_signal(number)
        out = process.communicate(timeout=20)[0].splitlines()
    assert out[0].startswith("stopping after the current step")
    assert (out[1:], process.returncode) == (["kept", "False"], 128 + number)


def test_shutdown_by_two_signals_is_immediate(number):
    with start("continues") as process:
        process.send_signal(number)
        assert process.stdout.readline().startswith("stopping")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 130
