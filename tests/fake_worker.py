"""One of several processes that make a study's trials, of a few milliseconds each.

Arguments: storage URL or folder, sampler, trials, milliseconds a trial, and the moment at which it
hangs until it is killed: "claim" (nothing told yet), "tell" (half of it told) or "" (never).
"""

import sys
import time
from pathlib import Path

from autoprune.layouts.strategies import strategy_layouts
from autoprune.search import trial
from autoprune.search.sampler import SAMPLERS
from autoprune.search.study import open_study, optimize_study
from autoprune.search.trial_queue import TrialQueue
from autoprune.storage.heartbeat import Heartbeat
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

DEPTH, KEEP = 10, 5
ABOUT = {"name": "fake", "identity": {"model": "fake"}}
FIRST = strategy_layouts(["top", "bottom"], DEPTH, KEEP)


def quality_of(layout):
    return sum((layer * 7 % 5 + 1) / 40 for layer in layout.keep)


def hang():
    sys.stdout.write("hangs\n")
    sys.stdout.flush()
    time.sleep(600)


def measurer(seconds, moment=""):
    def measure(run, check):
        if moment == "claim":
            hang()
        time.sleep(seconds)
        quality = quality_of(run.layout)
        return Score(quality, quality, quality, 1 - quality, "validation", run.seed, seconds)

    return measure


def place_of(text):
    return (text, Path()) if "://" in text else (None, Path(text))


def begin(place):
    open_study(open_storage(*place_of(place)), "fake", DEPTH, KEEP, 0, ABOUT["identity"])


def run(place, sampler, trials, milliseconds, moment=""):
    if moment == "tell":
        trial.score_to_attributes = lambda score: {"loss": 0.5, "hang": hang()}
    return optimize_study(
        measurer(float(milliseconds) / 1000, moment),
        DEPTH,
        KEEP,
        trials=int(trials),
        storage=open_storage(*place_of(place)),
        sampler=sampler,
        first=FIRST,
        **ABOUT,
    )


def desk(storage):
    """Return where a process of this study claims runs."""
    study = storage.get_study_id_from_name("fake")
    return TrialQueue(
        storage, study, SAMPLERS["gp"](DEPTH, KEEP, 0, 1.0), KEEP, Heartbeat(storage, study)
    )


if __name__ == "__main__":
    outcome = run(*sys.argv[1:])
    for finding in outcome.findings:
        sys.stdout.write(f"{finding.layout} {finding.seed} {finding.score.quality}\n")
