"""Who is surely behind gets no further seed; a range of seeds ends when the verdict is clear."""

import dataclasses
import math
import re
from functools import partial

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from autoprune.errors import TrialError
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantProgress,
    EntrantRun,
    EntrantStopped,
    Measured,
    SeedSchedule,
)
from autoprune.evaluation.permutation_test import (
    PairedDifference,
    Predictions,
    paired_difference,
)
from autoprune.evaluation.racing import (
    compare_entrants,
    estimate_noise,
    judge,
    range_quantile,
    surely_behind,
)
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import look_levels
from autoprune.evaluation.study_files import entrant_runs, read_study, write_study
from autoprune.evaluation.verdict import against_others, comparison_verdict, describe_seeds
from autoprune.layouts.layout import Layout
from autoprune.reporting.sections import verdict_in_brief
from autoprune.reporting.tables import comparison_as_json, entrants_table
from autoprune.tasks.task import CleaningReport, LabelledRows, TestSplit
from autoprune.training.budget import Budget
from autoprune.training.metrics import METRICS
from made_studies import scored

RACE = SeedSchedule((7, 8, 9), race=True)


@pytest.mark.parametrize(("least", "most"), [(3, 10), (3, 5), (5, 20)])
def test_look_levels_spend_one_in_twenty_over_all_looks(least, most):
    levels = look_levels(least, most)
    looks = np.arange(least, most + 1)
    assert list(levels) == list(looks)
    assert levels[least] == pytest.approx(0.05 * (least / most) ** 2)
    bounds = norm.isf(np.array(list(levels.values())) / 2) * np.sqrt(looks)
    joint = multivariate_normal(cov=np.minimum.outer(looks, looks).astype(float), seed=0)
    if len(looks) <= 8:
        inside = joint.cdf(bounds, lower_limit=-bounds)
        assert 1 - inside == pytest.approx(0.05, abs=0.001)


def test_look_levels_keep_false_verdicts_at_one_in_twenty():
    """Random walks without drift cross the bounds that often; at 0.05 each, far more often."""
    looks = np.arange(3, 11)
    means = np.random.default_rng(0).standard_normal((40_000, 10)).cumsum(1)[:, 2:] / looks**0.5
    p_values = 2 * norm.sf(np.abs(means))
    found = (p_values < np.array(list(look_levels(3, 10).values()))).any(1)
    assert found.mean() == pytest.approx(0.05, abs=0.004)
    assert (p_values < 0.05).any(1).mean() > 0.11


def test_noise_is_what_is_usual_or_what_was_measured():
    usual = estimate_noise(0.8, 1000, [])
    assert usual.variance == pytest.approx(0.005**2 + 0.3 * 0.16 / 1000)
    assert usual.freedom == 2
    measured = estimate_noise(0.8, 1000, [[0.7, 0.9], [0.8, 0.8, 0.8]])
    assert measured.freedom == 2 + 1 + 2
    assert measured.variance == pytest.approx((2 * usual.variance + 0.02) / 5)
    assert measured.of_pair("pretrained") == measured
    pair = usual.of_pair("random")
    assert pair.variance == pytest.approx(usual.variance + 0.05**2 / 2)
    assert 2 < pair.freedom < 2 + 8  # Satterthwaite: nearly that of the larger part
    assert pair.freedom == pytest.approx(8, rel=0.15)


@pytest.mark.parametrize(
    ("level", "compared", "freedom", "table"), [(0.05, 4, 10, 4.33), (0.01, 3, 5, 6.98)]
)
def test_range_quantiles_are_those_of_tukeys_table(level, compared, freedom, table):
    assert range_quantile(level, compared, freedom) == pytest.approx(table, abs=0.005)


@pytest.mark.parametrize("spread", [0.004, 0.012, 0.016])
def test_racing_rarely_drops_a_level_strategy_however_noisy_the_runs(spread, trial):
    """Three seeds; the usual noise that racing expects is 0.008."""
    rng, layouts = np.random.default_rng(0), {"top": "4:0-1", "middle": "4:0,3", "bottom": "4:2-3"}
    dropped = 0
    for _ in range(400):
        records, behind = {}, {}
        for seed in (7, 8):
            for origin, layout in layouts.items():
                quality = 0.8 + rng.normal(0, spread)
                records[origin, seed] = trial(
                    layout, quality, phase="comparison", origin=origin, seed=seed
                )
            measured = Measured(RACE, (7, 8)[: seed - 6], records, {})
            behind |= surely_behind(measured, 1168)
        dropped += bool(behind)
    assert dropped <= 400 * 0.05


@pytest.fixture
def racers(entrant):
    def make(calls=None):
        return [
            entrant("found", "4:0,2", (0,), 0.60, calls),
            entrant("top", "4:0-1", (1, 2, 3), 0.80, calls),
            entrant("middle", "4:0,3", (1, 2), 0.79, calls),
            entrant("bottom", "4:2-3", range(8), 0.51, calls),
            entrant("full", "4:0-3", (), 0.50, calls),
            entrant("scratch", "2:0-1", range(9), 0.31, calls, start="random"),
        ]

    return make


def test_entrants_surely_behind_get_no_further_seed(racers, compare):
    calls, watched = [], []
    comparison = compare(racers(calls), RACE, watch=watched.append)
    stopped = {event.origin: event.reason for event in watched if isinstance(event, EntrantStopped)}
    assert list(stopped) == ["bottom", "scratch"]  # found and full never are, though far behind
    assert re.fullmatch(
        r"surely behind top \(4:0-1\) after seed 7: 29\.0 points on validation, where chance gives "
        r"up to 1\d\.\d",
        stopped["bottom"],
    )
    seeds = {row.origin: row.seeds for row in comparison.rows}
    assert seeds == {"found": 3, "top": 3, "middle": 3, "bottom": 1, "full": 3, "scratch": 1}
    assert sorted(calls) == sorted(
        (origin, seed) for origin, n in seeds.items() for seed in (7, 8, 9)[:n]
    )
    assert comparison.reference == "top"
    row = comparison.row("bottom")
    assert row.stopped == stopped["bottom"]
    assert comparison.row("top").stopped == ""
    assert len(row.difference.by_seed) == len(comparison.against["bottom"].by_seed) == 1
    assert row.difference.mean == pytest.approx(-0.5)
    progress = [event for event in watched if isinstance(event, EntrantProgress)]
    assert [event.total for event in progress[5:7]] == [18, 14]
    assert progress[-1].done == progress[-1].total == 14


def test_runs_of_one_layout_are_one_measure_of_the_noise(entrant, compare, monkeypatch):
    groups = []

    def estimate(quality, rows, spreads):
        groups.append(list(spreads))
        return estimate_noise(quality, rows, groups[-1])

    monkeypatch.setattr("autoprune.evaluation.racing.estimate_noise", estimate)
    layouts = {"found": "4:0-1", "top": "4:0-1", "bottom": "4:2-3", "full": "4:0-3"}
    compare([entrant(origin, layout, (0,), 0.5) for origin, layout in layouts.items()], RACE)
    assert [len(group) for group in groups[-1]] == [len(groups)] * 2


def test_who_was_behind_a_leader_that_then_failed_goes_on(racers, compare):
    def break_down(seed, _):
        def run():
            raise TrialError("out of memory")

        return run if seed == 8 else top.begin(seed, _)

    calls, watched = [], []
    entrants = racers(calls)[1:]  # without found, so that the reference leads
    top, rest = entrants[0], [each for each in entrants[1:] if each.origin != "middle"]
    broken = dataclasses.replace(top, begin=break_down)
    comparison = compare([broken, *rest], RACE, watch=watched.append)
    stopped = [event.origin for event in watched if isinstance(event, EntrantStopped)]
    assert stopped[:2] == ["bottom", "scratch"]  # behind top
    assert comparison.left_out == ("top failed with seed 8: out of memory",)
    assert comparison.reference == "bottom"
    assert comparison.row("bottom").seeds == 3
    assert comparison.row("bottom").stopped == ""
    assert calls.count(("bottom", 8)) == 1
    progress = [event for event in watched if isinstance(event, EntrantProgress)]
    assert [event.done for event in progress] == list(range(1, len(progress) + 1))
    assert all(event.done <= event.total for event in progress)
    assert progress[-1].done == progress[-1].total


def test_without_race_every_entrant_has_all_seeds(racers, compare):
    comparison = compare(racers(), SeedSchedule((7, 8, 9)))
    assert {row.seeds for row in comparison.rows} == {3}
    assert not any(row.stopped for row in comparison.rows)


def test_entrants_do_not_race_in_a_metric_without_bounds(racers, compare, monkeypatch):
    unbounded = dataclasses.replace(METRICS["accuracy"], bounds=(-math.inf, 1.0))
    monkeypatch.setitem(METRICS, "accuracy", unbounded)
    assert {row.seeds for row in compare(racers(), RACE).rows} == {3}


def test_what_is_on_file_is_used_whoever_is_behind(racers, compare):
    compare(racers(), (7, 8, 9))
    calls = []
    comparison = compare(racers(calls), RACE)
    assert calls == []
    assert {row.seeds for row in comparison.rows} == {3}
    assert not any(row.stopped for row in comparison.rows)


def test_a_strategy_that_failed_to_learn_with_one_seed_is_not_behind(racers, split, compare):
    majority = SimpleModel("majority", "always 0", 0.49, (0,) * len(split.rows), 1, 0.0)
    comparison = compare(racers(), RACE, simple=lambda: [majority])
    assert comparison.row("bottom").seeds == 3
    assert comparison.row("scratch").seeds == 1


def test_readers_say_who_was_stopped_and_not_that_seeds_are_few(
    racers, compare, setting, split, tmp_path
):
    comparison = compare(racers(), RACE)
    reason = comparison.row("scratch").stopped
    assert f"scratch has 1 seed only: {reason}." in describe_seeds(comparison)
    scratch = next(text for text in against_others(comparison) if "from scratch" in text)
    assert "10 test rows, seed 7 only, for it was surely behind on validation" in scratch
    assert "noise of training" not in scratch
    assert result_warnings(setting, comparison, []) == ()
    rows = {row["origin"]: row for row in comparison_as_json(comparison)}
    assert (rows["scratch"]["seeds"], rows["scratch"]["stopped"]) == (1, reason)
    assert (rows["found"]["seeds"], rows["found"]["stopped"]) == (3, None)
    table = entrants_table(comparison)
    assert table.header[-1] == "seeds"
    assert {row[0]: row[-1] for row in table.rows} == {
        "found": "3",
        "top": "3",
        "middle": "3",
        "bottom": "1, stopped",
        "full": "3",
        "scratch": "1, stopped",
    }


def test_strategy_that_is_the_found_layout_is_never_said_to_stop(entrant, compare):
    calls, watched = [], []
    entrants = [
        entrant("found", "4:2-3", range(8), 0.51, calls),
        entrant("top", "4:0-1", (1, 2, 3), 0.80, calls),
        entrant("bottom", "4:2-3", range(8), 0.51, calls),
        entrant("full", "4:0-3", (), 0.50, calls),
    ]
    comparison = compare(entrants, RACE, watch=watched.append)
    assert not [event for event in watched if isinstance(event, EntrantStopped)]
    assert {(row.seeds, row.stopped) for row in comparison.rows} == {(3, "")}
    assert ("bottom", 7) not in calls  # its runs are those of the found layout


def test_stopped_entrants_are_read_back(racers, compare, setting, split, tmp_path):
    entrants = racers()
    comparison = compare(entrants, RACE, path=tmp_path / "records.jsonl")
    write_study(tmp_path, {}, setting, entrants, comparison, split, None)
    lines = (tmp_path / "baseline.json").read_text().splitlines()
    assert len(lines) == 11  # the braces and one line for each part, however many the labels
    study = read_study(tmp_path)
    assert study.comparison == comparison
    assert list(entrant_runs(study, "bottom")) == [7]
    assert list(entrant_runs(study, "found")) == [7, 8, 9]


ROWS = 2000


@pytest.fixture
def many():
    """Two thousand test rows of two labels."""
    labels = tuple(np.arange(ROWS) % 2)
    rows = LabelledRows(("",) * ROWS, tuple(map(int, labels)))
    report = CleaningReport("test", ROWS, 0, 0, 0, 0, ROWS)
    return TestSplit(rows, (True,) * ROWS, report, "f3")


@pytest.fixture
def compare_many(many, conditions, tmp_path):
    """Compare found, top, full on up to ten seeds; each has some hundred rows wrong by seed."""

    def entrant(origin, layout, wrong, shift, calls):
        def run(seed):
            calls.append((origin, seed))
            labels = np.array(many.rows.labels)
            rng = np.random.default_rng([seed, len(origin)])
            rows = shift + rng.choice(wrong * 2, wrong, replace=False)
            labels[rows] = 1 - labels[rows]
            return EntrantRun(scored(0.5, seed=seed), np.eye(2, dtype=np.float32)[labels])

        return Entrant(
            origin,
            Layout.parse(layout),
            "pretrained",
            "demo@abc",
            7000,
            Budget(50),
            lambda seed, _: partial(run, seed),
            None,
        )

    def compare(found, top, full, shift=0):
        calls = []
        wrong = {
            "found": ("4:0,2", found, 0),
            "top": ("4:0-1", top, shift),
            "full": ("4:0-3", full, 0),
        }
        entrants = [entrant(origin, *each, calls) for origin, each in wrong.items()]
        schedule = SeedSchedule(tuple(range(1, 11)), 3, race=True)
        comparison = compare_entrants(entrants, schedule, many, conditions, tmp_path / "r.jsonl")
        return comparison, [origin for origin, _ in calls]

    return compare


def test_a_range_of_seeds_ends_when_the_verdict_is_clear(compare_many):
    comparison, calls = compare_many(found=100, top=600, full=110)
    assert comparison.seeds == (1, 2, 3)
    assert len(calls) == 9
    assert comparison.against["top"].finding == "better"
    assert "better by 25.0 points" in comparison_verdict(comparison)
    assert describe_seeds(comparison)[0].startswith(
        "3 of 3 to 10 seeds were used: the difference from top is clear."
    )


def test_a_range_of_seeds_ends_where_more_seeds_would_not_help(compare_many):
    comparison, _ = compare_many(found=400, top=400, full=400, shift=800)
    assert comparison.seeds == (1, 2, 3)
    assert comparison.against["top"].finding == "no difference found"
    assert "more seeds would not make it clear, more test rows may" in describe_seeds(comparison)[0]


def test_a_range_of_seeds_goes_on_until_equality_is_clear(compare_many):
    comparison, calls = compare_many(found=400, top=400, full=10)
    assert 3 < len(comparison.seeds) < 10
    assert "are equal within 1 point of accuracy" in comparison_verdict(comparison)
    assert verdict_in_brief(comparison) == "equal"
    assert ": top is surely as good, within 1 point of accuracy." in describe_seeds(comparison)[0]
    assert calls.count("found") == calls.count("top") == len(comparison.seeds)
    assert calls.count("full") == 3
    reason = "found is worse than it, as is clear after 3 seeds"
    assert comparison.row("full").stopped == reason


def test_a_look_has_a_wider_interval_and_a_larger_p(many):
    right = np.array(many.rows.labels)
    wrong = np.random.default_rng(0).random((4, ROWS)) < [[0.2], [0.22], [0.25], [0.4]]
    first = Predictions(right, np.tile(right, (4, 1)), "accuracy")
    second = Predictions(right, np.where(wrong, 1 - right, right), "accuracy")
    level = look_levels(3, 10)[4]
    usual, look = paired_difference(first, second), paired_difference(first, second, level)
    assert (look.mean, look.by_seed) == (usual.mean, usual.by_seed)
    assert look.low < usual.low < usual.high < look.high
    assert look.p_value == pytest.approx(usual.p_value * 0.05 / level)


def difference(mean, half, p_value=0.5, by_seed=(0.0, 0.0, 0.0), row_error=0.0):
    return PairedDifference(mean, mean - half, mean + half, p_value, by_seed, row_error)


@pytest.mark.parametrize(
    ("gap", "state"),
    [
        (difference(0.03, 0.02, 0.01), "better"),
        (difference(-0.03, 0.02, 0.01), "worse"),
        (difference(0.03, 0.02, 0.06), ""),
        (difference(0.002, 0.007), "equal"),
        (difference(0.002, 0.009), ""),
        # Of ten seeds the rows alone would have an interval of +-2.17 points.
        (difference(0.010, 0.03, by_seed=(0.005, 0.01, 0.015), row_error=0.01), "too few rows"),
        (difference(0.010, 0.03, by_seed=(-0.01, 0.01, 0.03), row_error=0.01), ""),
        (difference(0.020, 0.03, by_seed=(0.015, 0.02, 0.025), row_error=0.01), ""),
    ],
)
def test_a_difference_is_judged_after_each_seed(gap, state):
    schedule = SeedSchedule(tuple(range(10)), 3)
    assert judge(gap, schedule, "accuracy") == state
    assert judge(gap, schedule, "mse") == ("" if state == "equal" else state)
