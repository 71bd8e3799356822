"""Study comparison: the recommended layouts on the same rows and seeds, with known answers."""

import dataclasses
from pathlib import Path

import pytest

from autoprune.errors import StudyError
from autoprune.evaluation.study_comparison import compare_winners, winners_verdict
from autoprune.training.budget import Distillation


@pytest.fixture
def study(finished_study, entrant, compare, tmp_path):
    """Make a study whose only entrant, top, has the named rows wrong."""

    def make(name, layout, wrong, seeds=(7, 8), **changes):
        only = [entrant("top", layout, wrong, 0.5)]
        comparison = compare(only, seeds, path=tmp_path / f"{name}.jsonl")
        return dataclasses.replace(
            finished_study, name=name, folder=Path(name), comparison=comparison, **changes
        )

    return make


def test_winners_are_paired_by_row_and_seed(study):
    pair = compare_winners(study("a", "4:0-1", ()), study("b", "4:0-2", range(8)))
    assert (pair.first.quality, pair.second.quality) == (1.0, pytest.approx(0.2))
    assert pair.difference.mean == pytest.approx(0.8)
    assert pair.difference.p_value == pytest.approx(2 / 2**8)
    assert pair.difference.finding == "better"
    assert winners_verdict(pair).startswith("4:0-1 of a (top) is better by 80.0 points of accuracy")
    back = compare_winners(study("b", "4:0-2", range(8)), study("a", "4:0-1", ()))
    assert back.difference.mean == -pair.difference.mean
    assert back.difference.finding == "worse"


def test_winners_verdict_without_a_difference_says_so(study):
    pair = compare_winners(study("a", "4:0-1", (0,)), study("b", "4:0-2", (1,)))
    assert pair.difference.p_value == 1
    assert winners_verdict(pair).startswith(
        "No difference found between 4:0-1 of a (top) and 4:0-2 of b"
    )
    assert "only 2 seeds, 7, 8" in winners_verdict(pair)


def test_winners_are_compared_on_the_seeds_in_common(study):
    wrong = {7: (), 8: range(8), 9: ()}
    pair = compare_winners(study("a", "4:0-1", wrong, (7, 8)), study("b", "4:0-2", wrong, (9, 7)))
    assert (pair.seeds, pair.first.quality) == ((7,), 1.0)
    assert "only one seed, 7" in winners_verdict(pair)
    assert pair.notes == ("Compared on the seeds that both have, 7; 8, 9 left out.",)


def test_winner_is_the_recommended_layout(finished_study, study):
    pair = compare_winners(finished_study, study("b", "4:0-2", ()))
    assert (pair.first.row.origin, pair.first.quality) == ("found", pytest.approx(0.9))


def test_winners_of_one_layout_trained_alike_have_no_difference(study):
    first, second = study("a", "4:0-1", (0,)), study("b", "4:0-1", (0,))
    assert "there is no difference to test" in winners_verdict(compare_winners(first, second))


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"steps": 99}, "The budgets of the final training differ, so one may be trained for"),
        ({"distillation": Distillation("logits", "t", 2.0, 0.7)}, "One is distilled from a"),
    ],
)
def test_winners_of_one_layout_trained_otherwise_differ(study, change, note):
    first, other = study("a", "4:0-1", (0,)), study("c", "4:0-1", (0,))
    records = tuple(
        dataclasses.replace(record, budget=dataclasses.replace(record.budget, **change))
        for record in other.comparison.records
    )
    comparison = dataclasses.replace(other.comparison, records=records)
    pair = compare_winners(first, dataclasses.replace(other, comparison=comparison))
    assert not pair.same
    assert [each[: len(note)] for each in pair.notes] == [note]


def test_winners_with_other_train_rows_have_a_note(study, setting):
    prints = {**setting.fingerprints, "train+validation": "other"}
    other = dataclasses.replace(setting, fingerprints=prints)
    pair = compare_winners(study("a", "4:0-1", ()), study("b", "4:0-2", (), setting=other))
    assert pair.notes == ("The train or validation rows differ; only the test rows are the same.",)


def test_winners_that_cannot_be_paired_are_refused(study, split, setting):
    first = study("a", "4:0-1", ())
    with pytest.raises(StudyError, match="those of a and b differ"):
        compare_winners(
            first, study("b", "4:0-2", (), test=dataclasses.replace(split, fingerprint="f3"))
        )
    with pytest.raises(StudyError, match="leave out different ones"):
        compare_winners(
            first, study("c", "4:0-2", (), test=dataclasses.replace(split, kept=(True,) * 12))
        )
    by_f1 = dataclasses.replace(setting, metric="macro-f1")
    with pytest.raises(StudyError, match="go by accuracy and macro-f1"):
        compare_winners(first, study("d", "4:0-2", (), setting=by_f1))
    with pytest.raises(StudyError, match="a has 7, 8 and e has 9"):
        compare_winners(first, study("e", "4:0-2", (), (9,)))
    with pytest.raises(StudyError, match="got a twice"):
        compare_winners(first, first)
