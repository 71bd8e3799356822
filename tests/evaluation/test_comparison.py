"""The comparison measures each candidate once, keeps every record, chooses by validation."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

from autoprune.errors import DataError, StudyError
from autoprune.evaluation.records import count_repeated, read_records
from autoprune.evaluation.verdict import recommendation
from autoprune.training.problem_types import SINGLE_LABEL


def test_comparison_rows_hold_known_figures(comparison):
    found, top, bottom, full, _ = comparison.rows
    assert [row.test_mean for row in comparison.rows] == pytest.approx([0.9, 0.7, 0.2, 1.0, 0.1])
    assert [row.raw_mean for row in (found, bottom)] == pytest.approx([11 / 12, 4 / 12])
    assert [row.validation_mean for row in (found, full)] == pytest.approx([0.81, 0.91])
    assert found.seeds == 2
    assert found.test_std == pytest.approx(0)
    assert found.test_low < 0.9 < found.test_high <= 1
    assert comparison.reference == "top"
    assert found.difference.mean == pytest.approx(0.2)
    assert bottom.difference.mean == pytest.approx(-0.5)
    assert (top.difference.mean, top.difference.low, top.difference.p_value) == (0, 0, 1)
    assert comparison.against["scratch"].mean == pytest.approx(0.8)
    assert comparison.against["full"].mean == pytest.approx(-0.1)
    assert (comparison.test_rows, comparison.raw_rows) == (10, 12)


def test_comparison_on_one_seed_gives_mcnemars_p(entrants, compare):
    comparison = compare(entrants, (7,))
    assert comparison.row("found").difference.p_value == pytest.approx(binomtest(3, 4).pvalue)
    assert comparison.row("found").test_std is None


def test_comparison_runs_seeds_in_the_outer_loop_and_reports_each_run(entrant, compare):
    calls, progress = [], []
    entrants = [
        entrant(o, la, (0,), 0.5, calls) for o, la in (("top", "4:0-1"), ("bottom", "4:2-3"))
    ]
    compare(entrants, watch=progress.append)
    assert calls == [("top", 7), ("bottom", 7), ("top", 8), ("bottom", 8)]
    assert [(p.origin, p.seed, p.done, p.total, p.reused) for p in progress] == [
        (origin, seed, done, 4, False) for done, (origin, seed) in enumerate(calls, start=1)
    ]


def test_comparison_measures_equal_layouts_once(entrant, compare, tmp_path):
    calls, path = [], tmp_path / "r.jsonl"
    entrants = [entrant(o, "4:0-1", (0,), 0.5, calls) for o in ("found", "top")]
    entrants.append(entrant("scratch", "4:0-1", (0, 1), 0.4, calls, start="random"))
    comparison = compare(entrants)
    assert [origin for origin, _ in calls] == ["found", "scratch"] * 2
    assert len(read_records(path)) == len(comparison.records) == 4
    assert count_repeated(read_records(path)) == 0
    found, top, scratch = comparison.rows
    assert dataclasses.replace(found, origin="top") == top
    assert found.difference.mean == 0
    assert scratch.test_mean == pytest.approx(0.8)


def test_comparison_resumes_after_an_interruption(entrant, compare, tmp_path):
    calls, path = [], tmp_path / "r.jsonl"
    entrants = [
        entrant(o, la, (0,), 0.5, calls) for o, la in (("top", "4:0-1"), ("bottom", "4:2-3"))
    ]

    def stop(progress):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(entrants, watch=stop)
    assert len(read_records(path)) == 3
    progress = []
    again = compare(entrants, watch=progress.append)
    assert [p.reused for p in progress] == [True, True, True, False]
    assert len(calls) == len(read_records(path)) == 4
    assert again.rows == compare(entrants).rows
    assert len(calls) == 4


@pytest.mark.parametrize("other", ["budget", "kept", "test", "train"])
def test_comparison_measures_anew_under_other_conditions(
    other, entrant, compare, split, conditions
):
    calls = []
    entrants = [entrant("top", "4:0-1", (0,), 0.5, calls)]
    compare(entrants, (7,))
    if other == "budget":
        longer = dataclasses.replace(entrants[0].budget, steps=99)
        entrants = [entrant("top", "4:0-1", (0,), 0.5, calls, budget=longer)]
    changed = {
        "budget": {},
        "kept": {"test": dataclasses.replace(split, kept=(True,) * 12)},
        "test": {"test": dataclasses.replace(split, fingerprint="f3")},
        "train": {
            "conditions": dataclasses.replace(conditions, fingerprints={"train+validation": "f9"})
        },
    }
    compare(entrants, (7,), **changed[other])
    assert len(calls) == 2


def test_reference_is_chosen_by_validation_not_by_test(entrant, compare):
    entrants = [
        entrant("top", "4:0-1", range(6), 0.7),
        entrant("bottom", "4:2-3", (), 0.6),
    ]
    comparison = compare(entrants, (7,))
    assert comparison.reference == comparison.recommended == "top"
    assert comparison.row("bottom").difference.mean == pytest.approx(0.6)


@pytest.mark.parametrize(("validation", "chosen"), [(0.59, "top"), (0.60, "top"), (0.61, "found")])
def test_found_is_recommended_only_if_it_is_better_on_validation(
    validation, chosen, entrant, compare
):
    entrants = [
        entrant("found", "4:0,2", (), validation),
        entrant("top", "4:0-1", range(6), 0.6),
        entrant("full", "4:0-3", (), 0.9),
    ]
    comparison = compare(entrants)
    assert comparison.recommended == chosen


def test_fixed_strategy_that_was_found_is_recommended_without_a_comparison(entrant, compare):
    entrants = [entrant("found", "4:0-1", (), 0.6), entrant("top", "4:0-1", (), 0.6)]
    sentence = "Recommended: top (4:0-1), which is also the layout found."
    assert recommendation(compare(entrants)) == sentence


def test_failed_entrant_is_left_out_and_tried_again(entrant, compare, tmp_path):
    calls, path = [], tmp_path / "r.jsonl"
    entrants = [
        entrant("top", "4:0-1", (0,), 0.5),
        entrant("scratch", "4:2-3", (0,), 0.5, calls, fails=(8,), start="random"),
    ]
    for tries in (1, 2):
        comparison = compare(entrants)
        assert [row.origin for row in comparison.rows] == ["top"]
        assert comparison.left_out == ("scratch failed with seed 8: loss is not a number",)
        assert calls.count(("scratch", 8)) == tries
    assert calls.count(("scratch", 7)) == 1
    assert count_repeated(read_records(path)) == 0


def test_run_with_logits_that_are_not_finite_fails(entrant, compare):
    top = entrant("top", "4:0-1", (0,), 0.5)
    broken = entrant("bottom", "4:2-3", (0,), 0.5)

    def begin(seed, checkpoint):
        good = broken.begin(seed, checkpoint)()
        return lambda: dataclasses.replace(good, logits=good.logits * np.float32("nan"))

    entrants = [top, dataclasses.replace(broken, begin=begin)]
    comparison = compare(entrants, (7,))
    assert "not finite" in comparison.left_out[0]


def test_checkpoint_is_kept_until_the_record_is_written(entrant, compare, tmp_path):
    path, checkpoints = tmp_path / "r.jsonl", []
    top, full = entrant("top", "4:0-1", (0,), 0.5), entrant("full", "4:0-3", (), 0.5)

    def recorded(original):
        def begin(seed, checkpoint):
            def wait():
                if (original, seed) == (full, 8) and not stopped:
                    stopped.append(len(read_records(path)))
                    raise KeyboardInterrupt
                return original.begin(seed, checkpoint)()

            checkpoint.path.parent.mkdir(exist_ok=True)
            checkpoint.path.write_text("half-way")
            checkpoints.append(checkpoint.path)
            return wait

        return dataclasses.replace(original, begin=begin)

    entrants, stopped = [recorded(top), recorded(full)], []
    with pytest.raises(KeyboardInterrupt):
        compare(entrants)
    assert len(set(checkpoints)) == 4 and stopped == [3]
    assert [checkpoint.exists() for checkpoint in checkpoints] == [False, False, False, True]
    compare(entrants)
    assert checkpoints[4] == checkpoints[3] and not checkpoints[3].exists()


def test_comparison_without_a_strategy_left_is_refused(entrant, compare):
    entrants = [entrant("top", "4:0-1", (), 0.5, fails=(7,)), entrant("full", "4:0-3", (), 0.5)]
    with pytest.raises(StudyError, match="top failed with seed 7"):
        compare(entrants, (7,))


def test_comparison_on_too_few_clean_rows_is_refused_before_training(entrant, compare, split):
    calls = []
    few = dataclasses.replace(split, kept=(True, *(False for _ in range(11))))
    with pytest.raises(DataError, match="at least 2"):
        compare([entrant("top", "4:0-1", (), 0.5, calls)], (7,), test=few)
    assert calls == []


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_difference_is_that_of_the_means_in_every_metric(metric, entrants, compare, conditions):
    conditions = dataclasses.replace(conditions, metric=metric)
    comparison = compare(entrants, conditions=conditions)
    top = comparison.row("top")
    for row in comparison.rows:
        assert row.difference.mean == pytest.approx(row.test_mean - top.test_mean)
        assert row.test_low <= row.test_mean + 1e-12
        assert row.test_mean <= row.test_high + 1e-12


def test_comparison_records_hold_all_that_a_repetition_needs(comparison, tmp_path):
    record = read_records(tmp_path / "records.jsonl")[0]
    assert [score.split for score in record.scores] == ["validation", "test", "test-raw"]
    assert record.predictions == (1, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 1)
    assert record.phase == "comparison"
    assert set(record.fingerprints) == {"train+validation", "test", "test kept"}
    assert record.budget.patience == 3
    assert record.seed == 7
