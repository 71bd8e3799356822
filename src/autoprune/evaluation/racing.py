"""Racing: which entrants of a comparison are trained with another seed, and which are behind.

Validation alone decides who is surely behind. Between the least and the greatest number of seeds,
the test split decides whether the verdict is clear, at the levels of a group-sequential test.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

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
from autoprune.evaluation.records import Record, read_records
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import SIGNIFICANCE
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import TestSplit
from autoprune.training.metrics import METRICS

NEVER_BEHIND = ("found", "full")  # they get all seeds

RUN_STD = 0.005
"""The standard deviation of the validation quality of runs that differ in their seed alone, besides
that of which rows they have wrong: see `benchmarks/search/comparison_cost.py`."""

SCRATCH_STD = 0.05
"""The same for models trained from random weights."""

ROW_NOISE = 0.3
"""The share of the variance of a row, right or wrong, that is of the seed and not of the row."""

PRIOR_FREEDOM = 8
"""How many degrees of freedom these values count for, beside those of measured spreads."""

EQUAL_WITHIN = 0.01
"""Qualities that surely differ by no more than this are called equal."""


@dataclass(frozen=True, slots=True)
class RunNoise:
    """The variance of one run's validation quality over seeds, with degrees of freedom."""

    variance: float
    freedom: int

    def of(self, start: str) -> float:
        """Return the variance of a run that starts from `pretrained` or `random` weights."""
        return self.variance + (SCRATCH_STD**2 if start == "random" else 0.0)


def estimate_noise(quality: float, rows: int, groups: Iterable[Sequence[float]]) -> RunNoise:
    """Return the noise of runs about `quality` on so many validation rows.

    `groups` are qualities of runs that differ in their seed alone. Their spread is averaged with
    what is usual, each weighted by its degrees of freedom (empirical Bayes: Smyth 2004, doi
    10.2202/1544-6115.1027).
    """
    usual = RUN_STD**2 + ROW_NOISE * max(quality * (1 - quality), 0.01) / rows
    squares, freedom = PRIOR_FREEDOM * usual, PRIOR_FREEDOM
    for group in groups:
        mean = fmean(group)
        squares += sum((value - mean) ** 2 for value in group)
        freedom += len(group) - 1
    return RunNoise(squares / freedom, freedom)


def repeated_trials(records: Iterable[Record]) -> list[list[float]]:
    """Return the validation qualities of the search's runs that differ in their seed alone."""
    groups: dict[tuple[object, ...], dict[int, float]] = {}
    for record in records:
        if record.phase == "search" and record.state == "complete":
            data = tuple(sorted(record.fingerprints.items()))
            key = (record.model, record.layout, record.budget, record.metric, data)
            groups.setdefault(key, {})[record.seed] = record.score("validation").quality
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def surely_behind(
    measured: Measured, rows: int, trials: Sequence[Sequence[float]], floor: float | None = None
) -> dict[str, str]:
    """Return the entrants that are surely behind on validation, and a sentence on each.

    `rows` is the number of validation rows, `trials` see `repeated_trials`. A strategy is compared
    with the best fixed strategy, a model from scratch or a rival with the best pruned layout; found
    and full are never behind. The chance that any is called behind that is not is about 0.05 over
    all seeds: each comparison has its share of it (Bonferroni).

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
    raced = [origin for origin in runs if origin not in NEVER_BEHIND]
    if not strategies:
        return {}
    best = max(pruned, key=means.__getitem__)
    spreads = [[record.score("validation").quality for record in runs[name]] for name in pruned]
    noise = estimate_noise(means[best], rows, [*trials, *spreads])
    looks = max(1, len(measured.schedule.seeds) - 1)
    level = SIGNIFICANCE / (len(raced) * looks)
    quantile = float(stats.t.isf(level, noise.freedom))
    behind = {}
    for origin in raced:
        candidates = strategies if origin in strategies else pruned
        leader = max(candidates, key=means.__getitem__)
        gap = means[leader] - means[origin]
        variance = noise.of("pretrained") + noise.of(runs[origin][0].start)
        half = quantile * math.sqrt(variance / len(runs[origin]))
        failed = (
            floor is not None
            and origin in strategies
            and means[origin] - floor < (means[leader] - floor) / 4
        )
        if gap > half and not failed:
            seeds = ", ".join(str(record.seed) for record in runs[origin])
            behind[origin] = (
                f"surely behind {leader} ({runs[leader][0].layout}) after "
                f"seed{'s' * (len(runs[origin]) > 1)} {seeds}: {100 * gap:.1f} points on "
                f"validation ({100 * (1 - 2 * level):.4g} % interval {100 * (gap - half):.1f} to "
                f"{100 * (gap + half):.1f})"
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
    runs = comparison_runs(test, conditions, path, watch)
    return race_entrants(
        entrants, schedule, test, runs, repeated_trials(read_records(path)), simple
    )


def race_entrants(
    entrants: Sequence[Entrant],
    schedule: SeedSchedule,
    test: TestSplit,
    runs: EntrantRuns,
    trials: Sequence[Sequence[float]],
    simple: Callable[[], Sequence[SimpleModel]] = tuple,
) -> Comparison:
    """Measure the entrants by `runs`, seed by seed; see `compare_entrants`, `repeated_trials`."""
    metric, rows = runs.conditions.metric, runs.conditions.validation_rows
    stopped: dict[str, str] = {}
    measured = Measured(schedule, (), {}, stopped)
    keys = {entrant.origin: entrant.key(0, runs.conditions) for entrant in entrants}
    models: Sequence[SimpleModel] | None = None
    for number in range(1, len(schedule.seeds) + 1):
        _start_early(runs, entrants, measured, number)
        measured = _measure_seed(runs, entrants, measured, number)
        models = simple() if models is None else models
        if number == len(schedule.seeds):
            break
        behind = {}
        if schedule.race and METRICS[metric].is_bounded:  # as is the usual noise
            floor = {model.origin: model.validation for model in models}.get("majority")
            behind = surely_behind(measured, rows, trials, floor)
        if number >= schedule.minimum:
            comparison = build_comparison(entrants, measured, test, metric, models)
            decided = decided_entrants(comparison, {*stopped, *behind})
            if decided is None:
                break
            behind = behind | decided if schedule.race else behind
        going = {keys[origin] for origin in keys.keys() - stopped.keys() - behind.keys()}
        for origin, reason in behind.items():
            # One that shares its runs with an entrant that goes on has them for further seeds too.
            if origin not in stopped and keys[origin] not in going:
                stopped[origin] = reason
                runs.watch(EntrantStopped(origin, reason))
    assert models is not None, "there is a seed"
    return build_comparison(entrants, measured, test, metric, models)


def decided_entrants(comparison: Comparison, behind: Collection[str]) -> dict[str, str] | None:
    """Return whose difference from the subject is clear on the test split, and a sentence on each.

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
        origin: f"{subject.origin} {_STATES[state]}, as is clear after {seeds}"
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
    runs: EntrantRuns, entrants: Sequence[Entrant], measured: Measured, number: int
) -> Measured:
    """Finish the runs with the seed of this number; what costs no training is taken too."""
    seed, stopped = measured.schedule.seeds[number - 1], measured.stopped
    due = [
        (entrant, seed)
        for entrant in entrants
        if entrant.origin not in stopped
        or (len(measured.runs(entrant.origin)) == number - 1 and runs.is_free(entrant, seed))
    ]
    going = sum(entrant.origin not in stopped for entrant, _ in due)
    done, records = len(measured.records), dict(measured.records)
    total = done + len(due) + going * max(0, measured.schedule.minimum - number)
    for (entrant, _), record in zip(due, runs.finish(due, done, total), strict=True):
        records[entrant.origin, seed] = record
    return Measured(measured.schedule, measured.schedule.seeds[:number], records, stopped)
