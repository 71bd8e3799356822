"""Print how long a trial's storage takes, with many processes working on one study.

    python benchmarks/speed/overhead.py [--workers 8] [--trials 1000] [--storage URL]

A trial is a made-up measurement of a few milliseconds; layouts are drawn at random, so that the
time is that of the storage and not of the sampler. Optuna's dashboard is open
meanwhile, and the study is requested each second. Without a URL the study is a journal file; the
study `overhead` of a database must not exist yet. The overhead is the time between the end of one
measurement and the beginning of the next in the same process: claims, checks and records, and
waiting for other processes.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path

from autoprune.evaluation.records import installed_versions
from autoprune.search.loop import ReportValue
from autoprune.search.result import TrialResult
from autoprune.search.settings import SearchSettings
from autoprune.search.study import finished_trials, open_study, optimize_study
from autoprune.search.trial import TrialRun
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

DEPTH, KEEP, NAME = 14, 7, "overhead"  # 3,432 layouts
MILLISECONDS = 5
EVALUATIONS = 3  # within each trial
Span = tuple[float, float]


def work(url: str | None, folder: Path, trials: int, spans: "Queue[list[Span]]") -> None:
    """Make trials until there are enough, and hand over when each was measured."""
    own_spans: list[Span] = []

    def measure(run: TrialRun, report: ReportValue) -> Score:
        began = time.monotonic()
        time.sleep(MILLISECONDS / 1000)
        quality = sum(run.layout.keep) / (DEPTH * DEPTH)
        for step in range(1, EVALUATIONS + 1):
            report(quality, step)
        score = Score(quality, quality, quality, 1 - quality, "validation", run.seed, 0.0)
        own_spans.append((began, time.monotonic()))
        return score

    optimize_study(
        measure,
        SearchSettings(depth=DEPTH, keep=KEEP, trials=trials, sampler="random"),
        open_storage(url, folder),
        NAME,
        {},
        callback=_heard,
    )
    spans.put(own_spans)


def _heard(finding: TrialResult) -> None:
    """Hear of a finding, as a command does that prints it."""


def look(page: str, workers: Sequence[BaseProcess]) -> int:
    """Ask the dashboard for the study each second while `workers` live; return how often."""
    looks = 0
    while any(worker.is_alive() for worker in workers):
        with urllib.request.urlopen(page, timeout=30) as answer:
            answer.read()
        looks += 1
        time.sleep(1)
    return looks


def main() -> None:
    """Let the workers make the trials, then count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--storage")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "studies" / NAME
        folder.mkdir(parents=True)
        storage = open_storage(arguments.storage, folder)
        if NAME in {s.study_name for s in storage.get_all_studies()}:
            parser.error(f"the database has a study {NAME!r} already: delete it")
        open_study(storage, NAME, DEPTH, KEEP, 0, {})
        shown = [sys.executable, "-m", "autoprune", "dashboard", arguments.storage or NAME]
        context = get_context("spawn")
        spans: Queue[list[Span]] = context.Queue()
        pool = [
            context.Process(
                target=work, args=(arguments.storage, folder, arguments.trials, spans), daemon=True
            )
            for _ in range(arguments.workers)
        ]
        with subprocess.Popen(
            [*shown, "--no-browser"], cwd=scratch, stdout=subprocess.PIPE, text=True
        ) as board:
            assert board.stdout is not None
            try:
                page = board.stdout.readline().split("dashboard/")[0]
                for worker in pool:
                    worker.start()
                study = storage.get_study_id_from_name(NAME)
                looks = look(f"{page}api/studies/{study}?after=0", pool)
                each = [spans.get(timeout=10) for _ in pool]
            finally:
                board.terminate()
        found = finished_trials(storage, NAME, DEPTH)
    gaps = [later[0] - earlier[1] for worker in each for earlier, later in pairwise(worker)]
    times = [time for worker in each for span in worker for time in span]
    runs = Counter((one.layout, one.seed, one.fidelity) for one in found)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, {installed_versions()}\n"
        f"{(arguments.storage or 'journal').partition(':')[0]}, "
        f"{arguments.workers} workers, {len(found)} trials of {MILLISECONDS} ms in "
        f"{max(times) - min(times):.1f} s, {looks} looks of the dashboard: "
        f"{len(found) - len(runs)} made twice; overhead a trial: mean "
        f"{1000 * statistics.fmean(gaps):.1f} ms, median {1000 * statistics.median(gaps):.1f} ms; "
        f"a trial every {1000 * (max(times) - min(times)) / len(found):.1f} ms"
    )


if __name__ == "__main__":
    main()
