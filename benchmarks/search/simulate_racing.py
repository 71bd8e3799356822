r"""Simulate racing alone: how often it drops a strategy that is level, by the noise of the runs.

    python benchmarks/search/simulate_racing.py --studies 2000 --out FILE

Every study is made up: found and so many strategies have one true validation quality, full is 2
points above, scratch 20 below. A run's quality is normal about it, with `spread` points between
seeds. `dropped` is the share of studies in which a level strategy got no further seed, `runs` how
many were made of those without racing. One JSON line for each setting is appended to FILE.
"""

import argparse
import math
from datetime import date
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from autoprune.evaluation.entrants import Measured, SeedSchedule
from autoprune.evaluation.racing import SCRATCH_STD, surely_behind
from autoprune.evaluation.records import InitialWeights, Record, installed_versions
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score
from simulate_stopping import report

QUALITY, ROWS = 0.8, 1168
BESIDE = {"full": 0.02, "scratch": -0.2}


def make_record(origin: str, quality: float, seed: int) -> Record:
    """Return a record of that quality on validation."""
    start: InitialWeights = "random" if origin == "scratch" else "pretrained"
    return Record(
        phase="comparison",
        origin=origin,
        layout=Layout.full(6),
        start=start,
        model="simulated",
        task="simulated",
        metric="accuracy",
        budget=Budget(1),
        seed=seed,
        scores=(Score(quality, quality, quality, 0.5, "validation", seed, 1.0),),
        parameters=1,
        fingerprints={},
        versions={},
        device="none",
        finished="",
    )


def race(rng: np.random.Generator, spread: float, seeds: int, strategies: int) -> tuple[int, int]:
    """Return how many level strategies a made-up study dropped, and how many runs it made."""
    level = list(STRATEGIES)[:strategies]
    stopped: dict[str, str] = {}
    records: dict[tuple[str, int], Record] = {}
    schedule = SeedSchedule(tuple(range(1, seeds + 1)), race=True)
    for seed in schedule.seeds:
        for origin in ("found", *level, *BESIDE):
            noise = rng.normal(0, math.hypot(spread, SCRATCH_STD * (origin == "scratch")))
            if origin not in stopped:
                quality = min(1.0, QUALITY + BESIDE.get(origin, 0.0) + noise)
                records[origin, seed] = make_record(origin, quality, seed)
        measured = Measured(schedule, schedule.seeds[:seed], records, stopped)
        if seed < seeds:
            behind = surely_behind(measured, ROWS, floor=0.1)
            stopped |= {origin: how.reason for origin, how in behind.items()}
    return sum(origin in stopped for origin in level), len(records)


def simulate(studies: int, spread: float, seeds: int, strategies: int) -> dict[str, Any]:
    """Return the figures of one setting."""
    rng = np.random.default_rng(0)
    races = [race(rng, spread / 100, seeds, strategies) for _ in range(studies)]
    share = fmean(dropped > 0 for dropped, _ in races)
    return {
        "spread": spread,
        "seeds": seeds,
        "strategies": strategies,
        "studies": studies,
        "dropped": share,
        "by chance": round(2 * math.sqrt(share * (1 - share) / studies), 4),
        "runs": round(fmean(runs for _, runs in races) / (seeds * (strategies + 3)), 3),
        "date": date.today().isoformat(),
        "versions": installed_versions(),
    }


def main() -> None:
    """Simulate each setting, and print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--spreads", type=float, nargs="+", default=[0.4, 0.8, 1.2, 1.6, 2.0, 4.0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for seeds, strategies, spread in product((3, 10), (2, 4), options.spreads):
        line = simulate(options.studies, spread, seeds, strategies)
        report(line, options.out)


if __name__ == "__main__":
    main()
