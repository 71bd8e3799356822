"""What is doubtful in a result is said, and nothing is recommended that beats nothing."""

import dataclasses
import json

import pytest

from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.verdict import (
    comparison_verdict,
    describe_disagreements,
    describe_interval,
    recommendation,
)
from autoprune.reporting.sections import comparison_section, verdict_in_brief
from autoprune.reporting.tables import comparison_as_json, entrants_table
from autoprune.tasks.task import CleaningReport, LabelledRows, TestSplit
from autoprune.training.budget import Distillation

ROWS = 60
SEEDS = (7, 8, 9)
MAJORITY = SimpleModel("majority", "always answers 'sport'", 1 / 3, (0,) * ROWS, 1, 0.0)
TFIDF = SimpleModel(
    "tf-idf", "logistic regression, C 1", 0.8, tuple(i % 3 for i in range(ROWS)), 900, 2.0
)
OTHERS = [i for i in range(ROWS) if i % 3]  # the rows that the majority label has wrong


@pytest.fixture
def split():
    labels = tuple(i % 3 for i in range(ROWS))
    cleaned = CleaningReport("test", ROWS, 0, 0, 0, 0, ROWS)
    return TestSplit(LabelledRows(("",) * ROWS, labels), (True,) * ROWS, cleaned, "f2")


@pytest.fixture
def warnings(compare, setting):
    """Return the comparison of entrants with simple models, and its warnings."""

    def warnings(entrants, simple=(MAJORITY,), seeds=SEEDS, trials=()):
        comparison = compare(entrants, seeds, simple=lambda: simple)
        return comparison, result_warnings(setting, comparison, trials)

    return warnings


def test_nothing_is_recommended_where_all_answer_one_label(entrant, warnings):
    entrants = [
        entrant("found", "4:0,2", OTHERS, 1 / 3),
        entrant("top", "4:0-1", OTHERS, 1 / 3),
        entrant("full", "4:0-3", OTHERS, 1 / 3),
    ]
    comparison, [text] = warnings(entrants)
    assert comparison.recommended is None
    assert comparison.best == "top"
    assert verdict_in_brief(comparison) == "nothing learned"
    assert comparison_verdict(comparison).startswith(
        "Nothing was learned: on the test split neither found nor top is clearly better than "
    )
    assert recommendation(comparison).startswith("Nothing is recommended")
    assert "a model that always answers 'sport' (33.3 %), so nothing is recommended" in text
    assert "The full model is not clearly better (33.3 %)" in text
    assert "--full-epochs" in text and "--metric macro-f1" in text


def test_full_model_that_learned_asks_for_more_layers(entrant, warnings):
    entrants = [entrant("top", "4:0-1", OTHERS, 0.3), entrant("full", "4:0-3", (), 0.9)]
    comparison, [text] = warnings(entrants)
    assert comparison.recommended is None
    assert "The full model is clearly better (100.0 %). Try a larger --keep" in text


def test_layout_that_learned_but_is_not_the_best_on_validation_is_named(entrant, warnings):
    entrants = [entrant("top", "4:0-1", OTHERS, 0.5), entrant("middle", "4:0,3", (), 0.4)]
    comparison, [text] = warnings(entrants)
    assert comparison.recommended is None
    assert "the test split top is not clearly better than" in comparison_verdict(comparison)
    assert "nothing is recommended. middle did better, but not on validation." in text


def test_one_row_more_than_the_majority_label_is_not_enough(entrant, warnings):
    comparison, [text] = warnings([entrant("top", "4:0-1", OTHERS[1:], 0.4)])
    assert comparison.row("top").test_mean > comparison.simple_row("majority").test_mean
    assert comparison.recommended is None and "nothing is recommended" in text


def test_layout_that_learned_is_recommended_before_a_better_one_that_did_not(entrant, warnings):
    entrants = [entrant("found", "4:0,2", OTHERS, 0.6), entrant("top", "4:0-1", (), 0.5)]
    comparison, texts = warnings(entrants)
    assert (comparison.recommended, comparison.best_on_validation) == ("top", "found")
    assert "found is better on validation, but" in recommendation(comparison)
    assert texts == ()


def test_studies_without_simple_models_are_recommended_as_before(entrant, warnings):
    comparison, texts = warnings([entrant("top", "4:0-1", range(ROWS), 0.0)], simple=())
    assert (comparison.recommended, texts, comparison.simple) == ("top", (), ())


def test_tfidf_above_the_recommended_layout_is_said(entrant, warnings):
    entrants = [entrant("found", "4:0,2", (1, 2), 0.8), entrant("top", "4:0-1", (1, 2, 4), 0.7)]
    _, [text] = warnings(entrants, (MAJORITY, TFIDF))
    assert text.startswith("The recommended layout (found, 96.7 %) is not better than TF-IDF (log")
    assert "has 100.0 %: +3.3 points of accuracy (95 % interval " in text


def test_warnings_name_what_the_task_has(entrant, compare, setting):
    tags = dataclasses.replace(setting, problem_type="token_classification")
    usual = dataclasses.replace(TFIDF, origin="dictionary", description="the usual tag of 9 words")
    entrants = [entrant("found", "4:0,2", (1, 2), 0.8), entrant("top", "4:0-1", (1, 2, 4), 0.7)]
    comparison = compare(entrants, SEEDS, simple=lambda: (MAJORITY, usual))
    [text] = result_warnings(tags, comparison, ())
    assert "is not better than the dictionary (the usual tag of 9 words), which" in text
    assert text.endswith("or use the dictionary.")
    comparison = compare([entrant("top", "4:1-2", OTHERS, 0.3)], SEEDS, simple=lambda: (MAJORITY,))
    [text] = result_warnings(tags, comparison, ())
    assert "so nothing is recommended" in text and "macro-f1" not in text


def test_tfidf_below_the_recommended_layout_is_no_warning(entrant, warnings):
    worse = dataclasses.replace(TFIDF, predictions=(0,) * ROWS)
    _, texts = warnings([entrant("top", "4:0-1", (1,), 0.8)], (MAJORITY, worse))
    assert texts == ()


def test_collapsed_seed_is_named(entrant, warnings):
    wrong = {7: (1,), 8: OTHERS, 9: (1, 2)}
    comparison, [text] = warnings(
        [entrant("top", "4:0-1", (), 0.8), entrant("full", "4:0-3", wrong, 0.9)]
    )
    assert comparison.collapsed == {"full": (8,)}
    assert text.startswith("full did not learn with every seed: it has 33.3 % with seed 8, where")
    assert "but 98.3 % with seed 7. Do not trust its mean" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {7: (1,), 8: OTHERS[:20], 9: (1, 2)},  # a bad seed, but it learned something
        {7: OTHERS, 8: OTHERS, 9: OTHERS},  # no seed learned anything
        {7: (), 8: (), 9: ()},
    ],
)
def test_seeds_that_all_learned_or_none_are_not_collapsed(wrong, entrant, warnings):
    entrants = [entrant("top", "4:0-1", (), 0.8), entrant("full", "4:0-3", wrong, 0.9)]
    comparison, _ = warnings(entrants)
    assert comparison.collapsed == {}


@pytest.mark.parametrize(("seeds", "words"), [((7,), "One seed says"), ((7, 8), "2 seeds say")])
def test_few_seeds_are_said(seeds, words, entrant, warnings):
    _, [text] = warnings([entrant("top", "4:0-1", (), 0.8)], seeds=seeds)
    assert text.startswith(words) and "at least 3 --seeds" in text


def test_longer_training_of_distilled_models_is_said(entrant, warnings):
    entrants = [entrant("top", "4:0-1", [1], 0.9), entrant("full", "4:0-3", [2], 0.9)]
    assert warnings(entrants)[1] == ()
    taught = Distillation("logits", "full", 2.0, 0.7)
    budget = dataclasses.replace(entrants[0].budget, steps=4000, distillation=taught)
    entrants[0] = dataclasses.replace(entrants[0], budget=budget)
    [text] = warnings(entrants)[1]
    steps = entrants[1].budget.steps
    assert text.startswith(f"The full model had at most {steps} steps, the others, which are")
    assert "distilled, 4,000: what they gain" in text


def test_search_of_fixed_strategies_alone_is_said(entrant, warnings, trial):
    entrants = [entrant("found", "4:0,2", (), 0.8), entrant("top", "4:0-1", (), 0.7)]
    fixed = [trial("4:0-1", 0.5), trial("4:2-3", 0.4)]
    _, [text] = warnings(entrants, trials=fixed)
    assert text.startswith(
        "Nothing was searched: only the fixed strategies, which come first, were tried (2 trials)"
    )
    _, texts = warnings(entrants, trials=[*fixed, trial("4:1-2", 0.5)])
    assert texts == ()


def test_warnings_on_the_data_come_first(entrant, compare, setting):
    setting = dataclasses.replace(setting, warnings=("half of the rows are duplicates",))
    comparison = compare([entrant("top", "4:0-1", OTHERS, 0.3)], simple=lambda: [MAJORITY])
    first, *rest = result_warnings(setting, comparison, ())
    assert first == "half of the rows are duplicates" and len(rest) == 2


def test_interval_and_p_that_disagree_are_explained():
    wide = PairedDifference(0.2, -0.9, 1.0, 1e-9, (0.55, -0.1, 0.15))
    assert describe_interval(wide) == (
        "95 % interval −90.0 to +100.0, p < 0.0001: p is small because these trained models "
        "differ, and the interval is wide because the seeds disagree (−10.0 to +55.0)"
    )
    narrow = PairedDifference(0.02, 0.01, 0.03, 0.07, (0.02,))
    assert "but the permutation test does not confirm it" in describe_interval(narrow)
    for agrees in (
        PairedDifference(0.02, 0.01, 0.03, 0.01),
        PairedDifference(0.02, -0.01, 0.05, 0.3),
        PairedDifference(0.0, 0.0, 0.0, 1.0),
    ):
        assert ":" not in describe_interval(agrees)


def test_tables_have_the_simple_models_last(entrant, warnings):
    comparison, _ = warnings([entrant("top", "4:0-1", (1,), 0.8)], (MAJORITY, TFIDF))
    table = entrants_table(comparison)
    assert [row[0] for row in table.rows] == ["top", "majority", "tf-idf"]
    assert table.rows[1][1:4] == ("", "always answers 'sport'", "33.3 %")
    entries = comparison_as_json(comparison)
    assert entries[1]["layout"] is None and entries[1]["difference"] == pytest.approx(-39 / 60)
    assert json.loads(json.dumps(entries)) == entries


def test_rows_whose_interval_and_p_disagree_are_named(entrant, warnings):
    wrong = {7: (), 8: (), 9: range(40)}
    comparison, _ = warnings(
        [entrant("top", "4:0-1", (1,), 0.8), entrant("full", "4:0-3", wrong, 0.9)]
    )
    [sentence] = describe_disagreements(comparison)
    assert sentence == (
        "Against top, p is small because these trained models differ, and the interval is wide "
        "because the seeds disagree: full (−65.0 to +1.7)."
    )
    assert sentence in comparison_section(comparison).parts[1].texts
