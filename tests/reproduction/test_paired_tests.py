"""Paired tests on made-up cells whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autoprune.reproduction.paired_tests import mean_difference, paired_test, run_paired_tests
from made_cells import ROWS, cell_of, make_cell, predictions_with


def pairs(*cells, first="found", second="top"):
    return [paired_test(cell, first, second) for cell in cells]


def test_p_of_equal_layouts_is_not_corrected_for():
    same = make_cell(found=78, layouts={"found": "12:0-5"}.items())
    first, second = run_paired_tests(pairs(same, make_cell("lpc", found=79)))
    assert first.corrected == 1.0
    assert second.corrected == second.difference.p_value


def test_same_model_scratch_and_a_rival_of_one_shape_are_two():
    assert not make_cell(mr_6=75).is_same_model("scratch", "mr-6")


def test_mean_difference_of_cells_on_the_same_rows_is_no_surer():
    def difference(*cells):
        return mean_difference(pairs(*cells, second="scratch"))

    alone = difference(make_cell())
    same_rows = difference(make_cell(), make_cell(keep=2))
    other_rows = difference(make_cell(), make_cell("lpc"))
    assert (same_rows.mean, same_rows.low) == pytest.approx((alone.mean, alone.low))
    assert other_rows.mean - other_rows.low == pytest.approx((alone.mean - alone.low) / 2**0.5)


def test_mean_difference_of_the_same_rows_is_no_surer_with_other_numbers_of_seeds():
    """Racing leaves one cell three seeds of scratch and another two."""
    whole = make_cell()
    scratch = whole.predictions["scratch"]
    fewer = replace(scratch, predicted=scratch.predicted[:2])
    cut = replace(whole, predictions={**whole.predictions, "scratch": fewer}, keep=2)
    both = mean_difference(pairs(whole, cut, second="scratch"))
    alone = [mean_difference(pairs(cell, second="scratch")) for cell in (whole, cut)]
    assert both.mean == pytest.approx(np.mean([each.mean for each in alone]))
    assert both.mean - both.low == pytest.approx(np.mean([each.mean - each.low for each in alone]))
    assert both.p_value >= min(each.p_value for each in alone)


def test_p_over_pairs_of_other_numbers_of_seeds_weighs_each_pair_alike():
    """Six rows won with each of three seeds, six rows lost with one: level, so no evidence."""
    rows = np.zeros((3, ROWS), dtype=bool)
    won, lost = rows.copy(), np.zeros((1, ROWS), dtype=bool)
    won[:, :6], lost[:, 6:12] = True, True
    cells = [
        cell_of({"found": predictions_with(won), "top": predictions_with(rows)}),
        cell_of({"found": predictions_with(lost & False), "top": predictions_with(lost)}),
    ]
    level = mean_difference(pairs(*cells))
    assert level.mean == pytest.approx(0)
    assert level.p_value == 1.0
    # Three rows lost only: 6 - 3 of 2^9 patterns as far from 0, by hand.
    lost[:, 9:] = False
    cells[1] = cell_of({"found": predictions_with(lost & False), "top": predictions_with(lost)})
    expected = 2 * sum(math.comb(9, k) for k in range(6, 10)) / 2**9
    assert mean_difference(pairs(*cells)).p_value == pytest.approx(expected)


def test_mean_difference_gives_each_cell_the_same_weight():
    difference = mean_difference(pairs(make_cell(top=70), make_cell("lpc", top=76)))
    assert difference.mean == pytest.approx(0.07)


def test_mean_difference_of_a_large_and_a_small_test_split():
    """2,000 rows lose 40 answers, 100 rows win 20: the mean is +9, and p must be of that mean."""

    def pair(task, rows, changed, won):
        top, found = np.arange(rows) < rows // 2, np.arange(rows) < rows // 2
        start = rows // 2 if won else rows // 2 - changed
        found[start : start + changed] ^= True
        predictions = {"found": predictions_with(found[None]), "top": predictions_with(top[None])}
        return paired_test(cell_of(predictions, task), "found", "top")

    large, small = pair("ldc", 2000, 40, False), pair("shc", 100, 20, True)
    difference = mean_difference([large, small])
    assert difference.mean == pytest.approx((0.2 - 0.02) / 2)
    assert difference.p_value < 0.001
    assert all(mean_difference([test]).p_value < 0.001 for test in (large, small))
    # 10 of 100 rows against 200 of 2,000: a mean of 0, so no evidence.
    level = mean_difference([pair("ldc", 2000, 200, False), pair("shc", 100, 10, True)])
    assert level.mean == pytest.approx(0.0)
    assert level.p_value > 0.5


def test_holm_correction_over_two_cells_makes_both_insignificant():
    """Two cells at p 0.03 each: neither is significant once both are counted."""
    found = np.zeros((3, ROWS), dtype=bool)
    found[:, :6] = True  # six rows better in all seeds: p = 2 / 2^6
    predictions = {
        "found": predictions_with(found),
        "top": predictions_with(np.zeros((3, ROWS), dtype=bool)),
    }
    tests = pairs(cell_of(predictions, "shc"), cell_of(predictions, "lpc"))
    [alone] = run_paired_tests(tests[:1])
    both = run_paired_tests(tests)
    assert alone.better
    assert [result.corrected for result in both] == pytest.approx([2 / 32, 2 / 32])
    assert not any(result.better for result in both)


def test_entrants_with_different_seeds_are_paired_on_those_of_both():
    right = np.arange(ROWS) < 70
    three = np.stack([right, right, ~right])
    cell = cell_of({"found": predictions_with(three), "scratch": predictions_with(~right[None])})
    pair = paired_test(cell, "found", "scratch")
    assert pair.first_predictions.predicted.shape == pair.second_predictions.predicted.shape
    difference = mean_difference([pair])
    assert difference.mean == pytest.approx((70 - (ROWS - 70)) / ROWS)
