r"""Cost of the comparison with racing against that without it, replayed on finished studies.

    python benchmarks/search/comparison_cost.py studies/mr-12-shc-keep6 studies/mini/* --out FILE

Nothing is trained: a replay hands out the study's own records, seed by seed, and the seconds of
training of those that racing asks for are added up, and so are those of the search's trials and of
the choice of rates. `ratio` is the whole command with racing divided by that without. `spread` is
the standard deviation between the seeds of a pruned layout on validation, in points, beside what
racing expects. One JSON line for each study is appended to FILE.

Of a study that raced itself the runs that racing saved have no records: the entrant's last run
stands for each, and whether the verdict is the same is not known.
"""

import argparse
import json
import math
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantMeasurement,
    EntrantRuns,
    MeasurementConditions,
    SeedSchedule,
)
from autoprune.evaluation.racing import estimate_noise, race_entrants
from autoprune.evaluation.records import ORIGINS, Record, installed_versions, read_records
from autoprune.evaluation.study_files import (
    RECORDS_FILE,
    FinishedStudy,
    entrant_runs,
    read_study,
)
from autoprune.evaluation.verdict import comparison_verdict
from autoprune.layouts.strategies import STRATEGIES


@dataclass(frozen=True, slots=True)
class ReplayedRuns(EntrantRuns):
    """Runs whose records are there, but count only when they are asked for."""

    recorded: EntrantMeasurement = field(default_factory=dict)

    def is_free(self, *_: Any) -> bool:
        """Say that every run costs its training."""
        return False

    def start(self, *_: Any) -> None:
        """Start nothing."""

    def finish(self, runs: Any, *_: Any) -> list[Record]:
        """Return the records."""
        return [self.recorded[entrant.origin, seed] for entrant, seed in runs]


def replay(study: FinishedStudy, race: bool) -> Comparison:
    """Judge a study's records again, seed by seed."""
    comparison, setting = study.comparison, study.setting
    recorded = {
        (row.origin, seed): record
        for row in comparison.rows
        for seed, record in _runs(study, row.origin).items()
    }
    rows = next(split.left for split in setting.cleaned if split.split == "validation")

    def refuse(*_: object) -> Any:
        raise AssertionError("nothing is trained")

    entrants = [
        Entrant(
            row.origin,
            row.layout,
            "random" if row.origin == "scratch" else "pretrained",
            row.origin if row.origin not in ORIGINS else setting.model,
            row.parameters,
            setting.full,
            refuse,
            refuse,
        )
        for row in comparison.rows
    ]
    runs = ReplayedRuns(
        "comparison",
        refuse,
        MeasurementConditions("", setting.metric, {}, {}, "", validation_rows=rows),
        Path("none"),
        lambda _: None,
        recorded=recorded,
    )
    schedule = replace(SeedSchedule(comparison.seeds), race=race)
    models = [row.model for row in comparison.simple]
    return race_entrants(entrants, schedule, study.test, runs, lambda: models)


def _runs(study: FinishedStudy, origin: str) -> dict[int, Record]:
    """Return an entrant's runs by seed, its last one for each that racing saved."""
    runs = entrant_runs(study, origin)
    last = runs[max(runs, key=study.comparison.seeds.index)]
    return {
        seed: runs[seed] if seed in runs else replace(last, seed=seed)
        for seed in study.comparison.seeds
    }


def figures(study: FinishedStudy) -> dict[str, Any]:
    """Return what the JSON line of a study holds."""
    whole, raced = replay(study, race=False), replay(study, race=True)
    records = read_records(study.folder / RECORDS_FILE)
    before = sum(
        record.scores[-1].seconds
        for record in records
        if record.phase in ("search", "tuning") and record.scores
    )
    compared, least = (
        sum(record.score("validation").seconds for record in comparison.records)
        for comparison in (whole, raced)
    )
    pruned = [row.origin for row in whole.rows if row.origin in ("found", *STRATEGIES)]
    groups = [
        [record.score("validation").quality for record in entrant_runs(study, origin).values()]
        for origin in pruned
    ]
    rows = next(split.left for split in study.setting.cleaned if split.split == "validation")
    usual = estimate_noise(fmean(map(fmean, groups)), rows, [])
    spread = math.sqrt(fmean(float(np.var(group, ddof=1)) for group in groups if len(group) > 1))
    return {
        "study": "/".join(study.folder.parts[-2:]),
        "search": round(before),
        "comparison": round(compared),
        "raced": round(least),
        "ratio": round((before + least) / (before + compared), 3),
        "stopped": {row.origin: row.seeds for row in raced.rows if row.stopped},
        "same verdict": None
        if any(row.stopped for row in study.comparison.rows)
        else comparison_verdict(whole) == comparison_verdict(raced),
        "spread": round(100 * spread, 2),
        "expected spread": round(100 * math.sqrt(usual.variance), 2),
        "date": date.today().isoformat(),
        "versions": installed_versions(),
    }


def main() -> None:
    """Print and store the figures of each study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    studies = [read_study(folder) for folder in options.studies]
    for study in studies:
        if len(study.comparison.seeds) == 1:
            parser.error(
                f"{study.folder} has one seed, and racing begins after the first: leave it out"
            )
    lines = [figures(study) for study in studies]
    for line in lines:
        print({key: value for key, value in line.items() if key not in ("date", "versions")})
        if options.out:
            with options.out.open("a") as file:
                file.write(f"{json.dumps(line)}\n")
    whole = sum(line["search"] + line["comparison"] for line in lines)
    raced = sum(line["search"] + line["raced"] for line in lines)
    print(f"all: {whole} s without racing, {raced} s with it, ratio {raced / whole:.3f}")


if __name__ == "__main__":
    main()
