"""Ctrl-C and SIGTERM: once lets the step at hand end, twice does not."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from autoprune.cli.shutdown import graceful_shutdown
from autoprune import interrupts as leaving
import typer
try:
    with graceful_shutdown(lambda line: print(line, flush=True)):
        print("at work", flush=True)
        while not (leaving.stop_requested() and sys.argv[1] == "heeds"):
            time.sleep(0.01)
        print("kept", flush=True)
        raise KeyboardInterrupt
except typer.Exit as left:
    print(leaving.stop_requested(), flush=True)
    sys.exit(left.exit_code)
"""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    return request.param


def begun(mood):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mood], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    return process


def test_once_lets_the_step_at_hand_end(number):
    with begun("heeds") as process:
        process.send_signal(number)
        out = process.communicate(timeout=20)[0].splitlines()
    assert out[0].startswith("stopping behind the step at hand")
    assert (out[1:], process.returncode) == (["kept", "False"], 128 + number)


def test_twice_leaves_at_once(number):
    with begun("does not") as process:
        process.send_signal(number)
        assert process.stdout.readline().startswith("stopping")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 130
