"""Racing: which entrants of a comparison are trained with another seed, and which are behind.

Validation alone decides who is surely behind. Between the least and the greatest number of seeds,
the test split decides whether the verdict is clear, at the levels of a group-sequential test.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Self

import numpy as np
from scipy import stats

from autoprune.errors import DataError, format_count
from autoprune.evaluation.comparison import Comparison, build_comparison
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantRuns,
    EntrantStopped,
    Measured,
    MeasurementConditions,
    SeedSchedule,
    Watch,
    comparison_runs,
)
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import SIGNIFICANCE
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import TestSplit
from autoprune.training.metrics import METRICS

NEVER_BEHIND = ("found", "full")  # they get all seeds

RUN_STD = 0.005
"""The standard deviation of the validation quality of runs that differ in their seed alone, besides
that of which rows they have wrong: see `benchmarks/search/comparison_cost.py`."""

ROW_NOISE = 0.3
"""The share of the variance of a row, right or wrong, that is of the seed and not of the row."""

RUN_FREEDOM = 2
"""How many degrees of freedom this usual noise counts for, beside those of the measured spreads.

Few, since studies have 0.4 to 4 times as much noise (`benchmarks/search/comparison_cost.py`), and
with more degrees of freedom noisy ones drop level strategies (`simulate_racing.py`)."""

SCRATCH_STD = 0.05
"""What comes to it for models trained from random weights."""

SCRATCH_FREEDOM = 8
"""How many degrees of freedom that counts for."""

EQUAL_WITHIN = 0.01
"""Qualities that surely differ by no more than this are called equal."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Who an entrant is behind, and a sentence on it."""

    leader: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunNoise:
    """The variance of one run's validation quality over seeds, with degrees of freedom."""

    variance: float
    freedom: float

    def of_pair(self, start: str) -> Self:
        """Return the mean of the noise of a pretrained run and of one that starts from `start`.

        Degrees of freedom of a sum of variances: Satterthwaite 1946, doi 10.2307/3002019.
        """
        if start == "pretrained":
            return self
        added = SCRATCH_STD**2 / 2
        variance = self.variance + added
        parts = self.variance**2 / self.freedom + added**2 / SCRATCH_FREEDOM
        return replace(self, variance=variance, freedom=variance**2 / parts)


def estimate_noise(quality: float, rows: int, groups: Iterable[Sequence[float]]) -> RunNoise:
    """Return the noise of runs about `quality` on so many validation rows.

    `groups` are qualities of runs that differ in their seed alone. Their spread is averaged with
    what is usual, each weighted by its degrees of freedom (empirical Bayes: Smyth 2004, doi
    10.2202/1544-6115.1027).
    """
    usual = RUN_STD**2 + ROW_NOISE * max(quality * (1 - quality), 0.01) / rows
    squares, freedom = RUN_FREEDOM * usual, RUN_FREEDOM
    for group in groups:
        mean = fmean(group)
        squares += sum((value - mean) ** 2 for value in group)
        freedom += len(group) - 1
    return RunNoise(squares / freedom, freedom)


@cache  # it takes a tenth of a second
def range_quantile(level: float, compared: int, freedom: int) -> float:
    """Return what the range of so many means, in standard errors, exceeds by chance at a level."""
    return float(stats.studentized_range.isf(level, compared, freedom))


def surely_behind(measured: Measured, rows: int, floor: float | None = None) -> dict[str, Behind]:
    """Return the entrants that are surely behind on validation.

    `rows` is the number of validation rows. A strategy is compared with the best fixed strategy, a
    model from scratch or a rival with the best pruned layout; found and full are never behind.

    The chance that any is called behind that is not, on these rows, is about 0.05 over all seeds.
    Each look has its share of it; in a look the strategies have one together, and each other
    entrant has one. The studentized range (Tukey) allows for the leader being the best of several.

    A pruned layout that gained less than a quarter of what the leader gained over `floor`, the
    majority label's quality, may have failed with these seeds only, and is not called behind.
    """
    going = dict.fromkeys(
        origin for origin, _ in measured.records if origin not in measured.stopped
    )
    runs = {origin: measured.runs(origin) for origin in going}
    runs = {
        origin: records
        for origin, records in runs.items()
        if all(record.state == "complete" for record in records)
    }
    means = {
        origin: fmean(record.score("validation").quality for record in records)
        for origin, records in runs.items()
    }
    strategies = [origin for origin in STRATEGIES if origin in runs]
    pruned = [*(["found"] if "found" in runs else []), *strategies]
    others = [origin for origin in runs if origin not in (*NEVER_BEHIND, *strategies)]
    if not strategies:
        return {}
    best = max(pruned, key=means.__getitem__)
    spreads = {  # runs of one layout once, also where it is that of two entrants
        runs[name][0].layout: [record.score("validation").quality for record in runs[name]]
        for name in pruned
    }
    noise = estimate_noise(means[best], rows, spreads.values())
    looks = max(1, len(measured.schedule.seeds) - 1)
    level = SIGNIFICANCE / looks / (1 + len(others))
    behind = {}
    for origin in (*strategies, *others):
        candidates = strategies if origin in strategies else pruned
        leader = max(candidates, key=means.__getitem__)
        pair = noise.of_pair(runs[origin][0].start)
        compared = len({*candidates, origin})
        if compared == 1:
            continue
        quantile = range_quantile(level, compared, math.floor(pair.freedom))
        chance = quantile * math.sqrt(pair.variance / len(runs[origin]))
        gap = means[leader] - means[origin]
        failed = (
            floor is not None
            and origin in strategies
            and means[origin] - floor < (means[leader] - floor) / 4
        )
        if gap > chance and not failed:
            seeds = ", ".join(str(record.seed) for record in runs[origin])
            behind[origin] = Behind(
                leader,
                f"surely behind {leader} ({runs[leader][0].layout}) after "
                f"seed{'s' * (len(runs[origin]) > 1)} {seeds}: {100 * gap:.1f} points on "
                f"validation, where chance gives up to {100 * chance:.1f}",
            )
    return behind


def judge(difference: PairedDifference, schedule: SeedSchedule, metric: str) -> str:
    """Return what a difference on the test split shows so far.

    `better`, `worse`, `equal` (surely within `EQUAL_WITHIN`), `too few rows` (for a verdict,
    however many seeds follow), or empty while another seed may show something. Never equal in a
    metric without bounds: what is little there depends on the numbers of the task.
    """
    within = EQUAL_WITHIN if METRICS[metric].is_bounded else 0.0
    if difference.finding != "no difference found":
        return difference.finding
    if within and difference.low >= -within and difference.high <= within:
        return "equal"
    used, most = len(difference.by_seed), len(schedule.seeds)
    # How far the mean may still move: two standard errors of its change.
    move = 2 * float(np.std(difference.by_seed, ddof=1)) * math.sqrt(1 / used - 1 / most)
    half = float(stats.norm.isf(schedule.level(most) / 2)) * difference.row_error
    if half > within and abs(difference.mean) + move < half:
        return "too few rows"
    return ""


def check_test_rows(test: TestSplit) -> None:
    """Raise `DataError` where cleaning leaves too few test rows to compare models on."""
    if sum(test.kept) < 2:
        raise DataError(
            f"a comparison needs at least 2 test rows, cleaning left {sum(test.kept)}: "
            "give more rows"
        )


def compare_entrants(
    entrants: Sequence[Entrant],
    seeds: Sequence[int] | SeedSchedule,
    test: TestSplit,
    conditions: MeasurementConditions,
    path: Path,
    watch: Watch = lambda _: None,
    simple: Callable[[], Sequence[SimpleModel]] = tuple,
) -> Comparison:
    """Measure the entrants on fresh seeds and compare them.

    Each is measured on each of `seeds`, unless these are a schedule that says otherwise. What is on
    file is used, whoever is behind. `simple` returns the simple models to compare them with.

    At least one entrant is a fixed strategy. Records go to `path`; what is there already is not
    measured again. An entrant that fails on a seed is left out. Raises `DataError` where cleaning
    leaves fewer than two test rows, `StudyError` where no strategy could be trained.
    """
    assert len({entrant.origin for entrant in entrants}) == len(entrants), "origins differ"
    check_test_rows(test)
    schedule = seeds if isinstance(seeds, SeedSchedule) else SeedSchedule(tuple(seeds))
    return race_entrants(
        entrants, schedule, test, comparison_runs(test, conditions, path, watch), simple
    )


def race_entrants(
    entrants: Sequence[Entrant],
    schedule: SeedSchedule,
    test: TestSplit,
    runs: EntrantRuns,
    simple: Callable[[], Sequence[SimpleModel]] = tuple,
) -> Comparison:
    """Measure the entrants by `runs`, seed by seed; see `compare_entrants`."""
    metric, rows = runs.conditions.metric, runs.conditions.validation_rows
    stopped: dict[str, Behind] = {}
    measured = Measured(schedule, (), {}, {})
    keys = {entrant.origin: entrant.key(0, runs.conditions) for entrant in entrants}
    models: Sequence[SimpleModel] | None = None
    for number in range(1, len(schedule.seeds) + 1):
        _start_early(runs, entrants, measured, number)
        measured = _measure_seed(runs, entrants, measured, stopped, number)
        models = simple() if models is None else models
        if number == len(schedule.seeds):
            break
        behind = {}
        if schedule.race and METRICS[metric].is_bounded:  # as is the usual noise
            floor = {model.origin: model.validation for model in models}.get("majority")
            behind = surely_behind(measured, rows, floor)
        if number >= schedule.minimum:
            comparison = build_comparison(entrants, measured, test, metric, models)
            decided = decided_entrants(comparison, {*stopped, *behind})
            if decided is None:
                break
            behind = behind | decided if schedule.race else behind
        going = {keys[origin] for origin in keys.keys() - stopped.keys() - behind.keys()}
        for origin, how in behind.items():
            # One that shares its runs with an entrant that goes on has them for further seeds too.
            if origin not in stopped and keys[origin] not in going:
                stopped[origin] = how
                runs.watch(EntrantStopped(origin, how.reason))
        measured = replace(measured, stopped=_reasons(stopped))
    assert models is not None, "there is a seed"
    return build_comparison(entrants, measured, test, metric, models)


def decided_entrants(comparison: Comparison, behind: Collection[str]) -> dict[str, Behind] | None:
    """Return whose difference from the subject is clear on the test split.

    None where the verdict is clear: of the found layout against the best fixed strategy, or where
    nothing was found, of the best fixed strategy against each that is not `behind`.
    """
    subject, schedule = comparison.subject, comparison.schedule
    clear = {
        row.origin: judge(comparison.against[row.origin], schedule, comparison.metric)
        for row in comparison.rows
        if row.origin != subject.origin and row.origin not in behind
    }
    strategies = [origin for origin in clear if origin in STRATEGIES]
    if subject.origin == "found":
        reference = comparison.row(comparison.reference)
        if reference.layout == subject.layout or clear.get(reference.origin):
            return None
    elif all(clear[origin] for origin in strategies):
        return None
    seeds = format_count(len(comparison.seeds), "seed")
    return {
        origin: Behind(
            subject.origin, f"{subject.origin} {_STATES[state]}, as is clear after {seeds}"
        )
        for origin, state in clear.items()
        if state and origin not in strategies
    }


_STATES = {
    "better": "is better than it",
    "worse": "is worse than it",
    "equal": f"is equal to it within {100 * EQUAL_WITHIN:g} point",
    "too few rows": "and it differ by less than these test rows can show",
}


def _start_early(
    runs: EntrantRuns, entrants: Sequence[Entrant], measured: Measured, number: int
) -> None:
    """Start the runs with the seed of this number, then those that are made in any case."""
    schedule = measured.schedule
    going = [entrant for entrant in entrants if entrant.origin not in measured.stopped]
    runs.start([(entrant, schedule.seeds[number - 1]) for entrant in going])
    sure = [entrant for entrant in going if not schedule.race or entrant.origin in NEVER_BEHIND]
    later = schedule.seeds[number : schedule.minimum]
    runs.start([(entrant, seed) for seed in later for entrant in sure])


def _measure_seed(
    runs: EntrantRuns,
    entrants: Sequence[Entrant],
    measured: Measured,
    stopped: dict[str, Behind],
    number: int,
) -> Measured:
    """Finish the runs up to the seed of this number; what costs no training is taken too.

    Who was stopped for being behind an entrant that then failed goes on.
    """
    seeds, records = measured.schedule.seeds[:number], dict(measured.records)
    while True:
        measured = replace(measured, seeds=seeds, records=records, stopped=_reasons(stopped))
        due = [
            (entrant, seed)
            for place, seed in enumerate(seeds)
            for entrant in entrants
            if (entrant.origin, seed) not in records
            and (
                entrant.origin not in stopped
                or (len(measured.runs(entrant.origin)) == place and runs.is_free(entrant, seed))
            )
        ]
        going = sum(entrant.origin not in stopped for entrant in entrants)
        done, later = len(records), max(0, measured.schedule.minimum - number)
        finished = runs.finish(due, done, done + len(due) + going * later)
        for (entrant, seed), record in zip(due, finished, strict=True):
            records[entrant.origin, seed] = record
        failed = {origin for (origin, _), record in records.items() if record.state == "failed"}
        resumed = [origin for origin, how in stopped.items() if how.leader in failed]
        if not resumed:
            return measured
        for origin in resumed:
            del stopped[origin]


def _reasons(stopped: Mapping[str, Behind]) -> dict[str, str]:
    return {origin: how.reason for origin, how in stopped.items()}
