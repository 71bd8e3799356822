"""A search over made-up qualities, run as a program so that a test can kill it.

Arguments: folder, sampler, trials, and after how many checks the process kills itself (0: never).
"""

import os
import signal
import sys
from pathlib import Path

from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.storage.locks import lock_study_folder
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

checks = deadly = 0


def measure(run, check):
    global checks
    quality = sum((layer * 7 % 5 + 1) / 40 for layer in run.layout.keep)
    for step in (10, 20):
        check(quality * step / 20, step)
        checks += 1
        if checks == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
    return Score(quality, quality, quality, 1 - quality, "validation", run.seed, 0.5)


if __name__ == "__main__":
    folder, sampler, trials, deadly = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    with lock_study_folder(folder):
        outcome = optimize_study(
            measure,
            SearchSettings(
                depth=8,
                keep=4,
                trials=trials,
                sampler=sampler,
                initial_layouts=strategy_layouts(["top", "bottom"], 8, 4),
            ),
            open_storage(None, folder),
            "fake",
            {"model": "fake"},
        )
    for finding in outcome.trial_results:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"{outcome.found} {outcome.repeated}\n")
