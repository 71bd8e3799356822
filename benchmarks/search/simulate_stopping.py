r"""Simulate the comparison's stopping rules: how often they say *better*, and after how many seeds.

    python benchmarks/search/simulate_stopping.py --studies 1000 --out FILE

Every study is made up, and judged by the functions that judge a real one. found, top and middle
have one true accuracy, except that found is `--gains` points above; bottom is 13 points below,
scratch 20. A row is answered correctly where a sum of normal variables is above 0: one of the row,
one of layout and row, one of layout, row and seed, and one of layout and seed. Their sizes give
accuracy 84 % and 0.7 points between seeds, as on SHC with e5-12; two seeds of a layout disagree on
11 % of the rows, two layouts on 12 % (in three studies below `studies/`: 11 to 16, and 9 to 15).

`better` is the share of studies whose verdict is that found is better than the best fixed strategy
on the test split, and so on; `by chance` are the two of a share's standard errors. One JSON line
for each setting is appended to FILE.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantRuns,
    MeasurementConditions,
    SeedSchedule,
)
from autoprune.evaluation.racing import race_entrants
from autoprune.evaluation.records import Record, installed_versions
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import CleaningReport, LabelledRows, TestSplit
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

ACCURACY = 0.84
TEST_ROWS, VALIDATION_ROWS = 1164, 1168
ROW, LAYOUT_ROW = math.sqrt(0.85), math.sqrt(0.05)  # the rest is of layout, row and seed
SEED_POINTS = 0.5  # of a layout with a seed, beside what its rows give: 0.7 in all
BEHIND = {"bottom": 13.0, "scratch": 20.0}
LAYOUTS = {
    "found": Layout.parse("12:0-3,8,10"),
    **{name: STRATEGIES[name](12, 6) for name in ("top", "middle", "bottom")},
    "scratch": Layout.full(6),
}
SCHEDULES = {
    "3 seeds, no race": SeedSchedule((1, 2, 3)),
    "3 seeds": SeedSchedule((1, 2, 3), race=True),
    "3-10 seeds, no race": SeedSchedule(tuple(range(1, 11)), 3),
    "3-10 seeds": SeedSchedule(tuple(range(1, 11)), 3, race=True),
}


def simulate_rows(
    rng: np.random.Generator, points: float, rows: int, common: NDArray[Any], seeds: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which rows one entrant has right, (seeds, rows), at 84 % + `points`."""
    scatter = SEED_POINTS / 100 / norm.pdf(norm.ppf(ACCURACY))
    threshold = norm.ppf(ACCURACY + points / 100) * math.sqrt(1 + scatter**2)
    own = LAYOUT_ROW * rng.standard_normal(rows)
    rest = math.sqrt(1 - ROW**2 - LAYOUT_ROW**2) * rng.standard_normal((len(seeds), rows))
    value = threshold + scatter * seeds[:, None] + ROW * common + own + rest
    return np.asarray(value > 0)


@dataclass(frozen=True, slots=True)
class SimulatedRuns(EntrantRuns):
    """Runs whose results are made up: `right` are each entrant's rows, `validation` its scores."""

    right: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    validation: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def start(self, runs: Any) -> None:
        """Start nothing."""

    def finish(self, runs: Any, *_: Any) -> list[Record]:
        """Return the records."""
        return [self._record(*run) for run in runs]

    def _record(self, entrant: Entrant, seed: int) -> Record:
        right = self.right[entrant.origin][seed - 1]
        quality = float(self.validation[entrant.origin][seed - 1])
        figures = {"validation": quality, "test": float(right.mean()), "test-raw": 0.0}
        return Record(
            phase="comparison",
            origin=entrant.origin,
            layout=entrant.layout,
            start=entrant.start,
            model=entrant.model,
            task="simulated",
            metric="accuracy",
            budget=entrant.budget,
            seed=seed,
            scores=tuple(Score(q, q, q, 0.5, split, seed, 1.0) for split, q in figures.items()),
            parameters=1,
            fingerprints={},
            versions={},
            device="none",
            finished="",
            predictions=tuple((~right).astype(int).tolist()),
        )


def simulate_study(number: int, gain: float) -> Callable[[SeedSchedule], Comparison]:
    """Return what judges a made-up study by a schedule."""
    rng = np.random.default_rng(number)
    report = CleaningReport("test", TEST_ROWS, 0, 0, 0, 0, TEST_ROWS)
    rows = LabelledRows(("",) * TEST_ROWS, (0,) * TEST_ROWS)
    test = TestSplit(rows, (True,) * TEST_ROWS, report, "simulated")
    common = [rng.standard_normal(rows) for rows in (TEST_ROWS, VALIDATION_ROWS)]
    right, validation = {}, {}
    for origin in LAYOUTS:
        seeds = rng.standard_normal(10)
        points = gain if origin == "found" else -BEHIND.get(origin, 0.0)
        draw = partial(simulate_rows, rng, points)
        right[origin] = draw(TEST_ROWS, common[0], seeds)
        validation[origin] = draw(VALIDATION_ROWS, common[1], seeds).mean(1)
    conditions = MeasurementConditions(
        "simulated", "accuracy", {}, {}, "none", validation_rows=VALIDATION_ROWS
    )

    def refuse(*_: object) -> Any:
        raise AssertionError("nothing is trained")

    entrants = [
        Entrant(
            origin,
            layout,
            "random" if origin == "scratch" else "pretrained",
            origin,
            1,
            Budget(1),
            refuse,
            refuse,
        )
        for origin, layout in LAYOUTS.items()
    ]

    def judge(schedule: SeedSchedule) -> Comparison:
        runs = SimulatedRuns(
            "comparison",
            refuse,
            conditions,
            Path("none"),
            lambda _: None,
            right=right,
            validation=validation,
        )
        return race_entrants(entrants, schedule, test, runs)

    return judge


def simulate(studies: int, gain: float) -> Iterator[dict[str, Any]]:
    """Yield the figures of each schedule over the same made-up studies."""
    results: dict[str, list[tuple[str, int, int, bool]]] = {name: [] for name in SCHEDULES}
    for number in range(studies):
        judge = simulate_study(number, gain)
        for name, schedule in SCHEDULES.items():
            comparison = judge(schedule)
            finding = comparison.against[comparison.reference].finding
            wrong = any(comparison.row(origin).stopped for origin in ("top", "middle"))
            runs = sum(comparison.runs.values())
            results[name].append((finding, len(comparison.seeds), runs, wrong))
    for name, outcomes in results.items():
        shares = {
            finding: fmean(outcome[0] == finding for outcome in outcomes)
            for finding in ("better", "worse")
        }
        yield {
            "schedule": name,
            "gain": gain,
            "studies": studies,
            **shares,
            "by chance": round(
                2 * math.sqrt(shares["better"] * (1 - shares["better"]) / studies), 4
            ),
            "seeds": fmean(outcome[1] for outcome in outcomes),
            "runs": fmean(outcome[2] for outcome in outcomes),
            "level strategy dropped": fmean(outcome[3] for outcome in outcomes),
            "date": date.today().isoformat(),
            "versions": installed_versions(),
        }


def report(line: dict[str, Any], out: Path | None) -> None:
    """Print the figures of one setting, and add them to the file `out`."""
    print({key: value for key, value in line.items() if key != "versions"}, flush=True)
    if out:
        with out.open("a") as file:
            file.write(f"{json.dumps(line)}\n")


def main() -> None:
    """Simulate each gain, and print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--gains", type=float, nargs="+", default=[0.0, 1.0, 2.0, 3.0, 5.0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for gain in options.gains:
        for line in simulate(options.studies, gain):
            report(line, options.out)


if __name__ == "__main__":
    main()
