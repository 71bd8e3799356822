"""One of several processes that run a study's trials, each of a few milliseconds.

Arguments: storage URL or folder, sampler, trials, milliseconds a trial, and the moment at which it
hangs until it is killed: "claim" (nothing written yet), "close" (half written) or "" (never). A
number is the check, of two in each trial, at which it kills itself. With "start" it says that it is
ready, and begins at a line on its standard input.
"""

import os
import signal
import sys
import time
from itertools import count
from pathlib import Path

from autoprune.layouts.strategies import strategy_layouts
from autoprune.search import trial
from autoprune.search.sampler import SAMPLERS
from autoprune.search.settings import SearchSettings
from autoprune.search.study import open_study, optimize_study
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage.heartbeat import Heartbeat
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

NAME, IDENTITY = "fake", {"model": "fake"}
SETTINGS = {
    "depth": 10,
    "keep": 5,
    "initial_layouts": strategy_layouts(["top", "bottom"], 10, 5),
}


def open_location(location):
    """Open the storage at a URL, or in a folder."""
    return (
        open_storage(location, Path()) if "://" in location else open_storage(None, Path(location))
    )


def create_study(location):
    open_study(open_location(location), NAME, SETTINGS["depth"], SETTINGS["keep"], 0, IDENTITY)


def run_search(location, sampler, trials, milliseconds, moment=""):
    if moment == "close":
        trial.score_to_attributes = lambda *_: {"loss": 0.5, "hang": _hang()}
    return optimize_study(
        _objective(float(milliseconds) / 1000, moment),
        SearchSettings(**SETTINGS, trials=int(trials), sampler=sampler),
        open_location(location),
        NAME,
        IDENTITY,
    )


def trial_queue(storage):
    """Return the trial queue of another process of the study."""
    sampler = SAMPLERS["gp"](SearchSettings(**SETTINGS, trials=99))
    study_id = storage.get_study_id_from_name(NAME)
    return TrialQueue(storage, study_id, sampler, Heartbeat(storage, study_id))


def _objective(seconds, moment):
    checks = count(1)

    def objective(run, report):
        if moment == "claim":
            _hang()
        time.sleep(seconds)
        quality = sum((layer * 7 % 5 + 1) / 40 for layer in run.layout.keep)
        for step in (10, 20) if moment.isdigit() else ():
            report(quality * step / 20, step)
            if next(checks) == int(moment):
                os.kill(os.getpid(), signal.SIGKILL)
        return Score(quality, quality, quality, 1 - quality, "validation", run.seed, seconds)

    return objective


def _hang():
    sys.stdout.write("hangs\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    if sys.argv[-1] == "start":
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    for result in run_search(*sys.argv[1:]).trial_results:
        sys.stdout.write(f"{result.layout} {result.seed} {result.score.quality}\n")
