"""The verdict says better or worse only where interval and test both do."""

import dataclasses

import pytest

from autoprune.evaluation.entrants import SeedSchedule
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.verdict import (
    against_others,
    comparison_verdict,
    describe_seeds,
    recommendation,
)
from autoprune.reporting.sections import limits_text, verdict_in_brief
from autoprune.training.budget import Distillation


@pytest.mark.parametrize(
    ("difference", "finding"),
    [
        (PairedDifference(0.02, 0.01, 0.03, 0.01), "better"),
        (PairedDifference(-0.02, -0.03, -0.01, 0.01), "worse"),
        (PairedDifference(0.02, -0.01, 0.05, 0.01), "no difference found"),
        (PairedDifference(0.02, 0.01, 0.03, 0.06), "no difference found"),
        (PairedDifference(-0.02, -0.03, -0.01, 0.06), "no difference found"),
        (PairedDifference(0.0, 0.0, 0.0, 1.0), "no difference found"),
    ],
)
def test_finding_needs_interval_and_p_value(difference, finding, comparison):
    assert difference.finding == finding
    changed = dataclasses.replace(comparison, against={**comparison.against, "top": difference})
    text = comparison_verdict(changed)
    assert [word for word in ("better", "worse", "No difference found") if word in text] == [
        finding.replace("no d", "No d")
    ]


def test_verdict_gives_its_figures(comparison):
    changed = dataclasses.replace(
        comparison, against={"top": PairedDifference(0.0234, 0.011, 0.035, 0.0312)}
    )
    assert comparison_verdict(changed) == (
        "The found layout 4:0,2 is better by 2.3 points of accuracy on the test split than top "
        "(4:0-1), the best fixed strategy on validation (95 % interval +1.1 to +3.5, p = 0.031; "
        "10 test rows, only 2 seeds, 7, 8: the noise of training is not in the interval)."
    )


def test_verdict_worse_has_no_second_minus(comparison):
    changed = dataclasses.replace(
        comparison, against={"top": PairedDifference(-0.02, -0.03, -0.01, 0.0)}
    )
    assert "is worse by 2.0 points of accuracy on the test split than top" in comparison_verdict(
        changed
    )


def test_verdict_without_a_difference_keeps_the_sign(comparison):
    changed = dataclasses.replace(
        comparison, against={"top": PairedDifference(-0.02, -0.05, 0.01, 0.3)}
    )
    assert (
        ": −2.0 points of accuracy on the test split (95 % interval −5.0 to +1.0"
        in comparison_verdict(changed)
    )


def test_verdict_on_one_seed_says_so(entrants, compare):
    comparison = compare(entrants, (7,))
    assert "only one seed" in comparison_verdict(comparison)


def test_verdict_says_that_the_strategy_itself_was_found(entrant, compare):
    entrants = [entrant(origin, "4:0-1", (0,), 0.5) for origin in ("found", "top")]
    comparison = compare(entrants)
    assert "found the fixed strategy top itself" in comparison_verdict(comparison)


def test_verdict_says_that_another_strategy_was_found(entrant, compare):
    entrants = [
        entrant("found", "4:2-3", (0,), 0.5),
        entrant("top", "4:0-1", (0,), 0.6),
        entrant("bottom", "4:2-3", (0,), 0.5),
    ]
    comparison = compare(entrants)
    assert "4:2-3 (that of bottom)" in comparison_verdict(comparison)


def test_verdict_without_a_search_names_the_best_strategy(entrants, compare):
    comparison = compare(entrants[1:])
    assert (
        "best fixed strategy by mean validation quality is top (4:0-1), with 70.0 %"
        in comparison_verdict(comparison)
    )
    assert "found" not in comparison_verdict(comparison) + recommendation(comparison)
    assert set(comparison.against) == {"bottom", "full", "scratch"}


def test_verdict_says_that_the_found_layout_failed(entrant, entrants, compare):
    comparison = compare([entrant("found", "4:0,2", (0,), 0.8, fails=(8,)), *entrants[1:]])
    assert comparison_verdict(comparison).startswith(
        "The found layout is not compared: found failed with seed 8: loss is not a number. The best"
    )
    assert verdict_in_brief(comparison) == "found failed"
    assert verdict_in_brief(compare(entrants[1:], (1, 2))) == "baseline"


def test_limits_say_what_was_searched_and_taught(entrants, compare):
    assert "were used for the search and for choosing" in limits_text(compare(entrants))
    baseline = limits_text(compare(entrants[1:], (1, 2)))
    assert "were used for choosing the best strategy" in baseline
    assert "and this budget, no pre-training" in baseline


def test_limits_of_a_distilled_study_name_the_teacher(comparison):
    distilled = Distillation("logits", "full demo@abc", 2.0, 0.7)
    records = tuple(
        dataclasses.replace(
            record, budget=dataclasses.replace(record.budget, distillation=distilled)
        )
        for record in comparison.records
    )
    text = limits_text(dataclasses.replace(comparison, records=records))
    assert "the training rows of this task and what its teacher says, no pre-training" in text


def test_range_of_seeds_that_found_the_strategy_itself_says_so(entrant, compare):
    layouts = {"found": "4:0-1", "top": "4:0-1", "bottom": "4:2-3"}
    entrants = [entrant(origin, layout, (0,), 0.5) for origin, layout in layouts.items()]
    comparison = compare(entrants, SeedSchedule((7, 8, 9, 10), 3, True))
    assert " seeds were used: the layout is that of top. " in describe_seeds(comparison)[0]


def test_other_models_are_compared_with_the_found_layout(comparison):
    full, scratch = against_others(comparison)
    assert "the full model" in full
    assert "−10.0 points" in full
    assert "is better by 80.0 points of accuracy on the test split than the model of " in scratch


@pytest.mark.parametrize(("validation", "words"), [(0.9, "top, 61.0 %"), (0.3, "found, 30.0 %")])
def test_recommendation_gives_both_validation_means(validation, words, entrant, entrants, compare):
    entrants = [entrant("found", "4:0,2", (), validation), *entrants[1:]]
    comparison = compare(entrants)
    assert recommendation(comparison).startswith(f"Recommended: {comparison.recommended} ")
    assert words in recommendation(comparison)
