"""The claims on made-up cells whose answer is known: each verdict is reached, for its reason."""

from dataclasses import replace

import numpy as np
import pytest

from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.reproduction.claims import judge_claims
from made_cells import ROWS, cell_of, make_cell, predictions_with


def judge(*cells, multilingual=()):
    return {claim.letter: claim for claim in judge_claims(cells, multilingual, 0.01)}


def judge_shc_and_lpc(**points):
    return judge(make_cell(**points), make_cell("lpc", **points))


@pytest.mark.parametrize(
    ("full", "wobble", "verdict"),
    [(80, 0, "supported"), (85, 0, "contradicted"), (80, 60, "undecided"), (70, 0, "supported")],
)
def test_claim_a_compares_with_the_full_model(full, wobble, verdict):
    claim = judge_shc_and_lpc(full=full, wobble=wobble)["a"]
    assert claim.verdict == verdict
    assert claim.effect.mean == pytest.approx((80 - full) / 100)
    cells = ("mr-12, shc, keep 6", "mr-12, lpc, keep 6")
    assert [claim.cell_verdict(cell) for cell in cells] == [verdict] * 2


def test_claim_a_one_cell_far_below_the_full_model_contradicts():
    claim = judge(make_cell(full=60), make_cell("lpc", full=90))["a"]
    assert claim.effect.low > -0.01
    assert claim.verdict == "contradicted"
    assert "mr-12, lpc, keep 6" in claim.reason


@pytest.mark.parametrize(
    ("scratch", "rival", "random", "pretrained"),
    [
        (70, 70, "supported", "supported"),
        (90, 70, "contradicted", "supported"),
        (70, 90, "supported", "contradicted"),
        (80, None, "undecided", "untested"),
    ],
)
def test_claim_b_judges_both_kinds_of_small_models(scratch, rival, random, pretrained):
    claims = judge_shc_and_lpc(scratch=scratch, mr_6=rival)
    assert (claims["b2"].verdict, claims["b1"].verdict) == (random, pretrained)


def test_claim_b_better_on_average_but_not_everywhere_is_undecided():
    claim = judge(make_cell(scratch=60), make_cell("lpc", scratch=80))["b2"]
    assert claim.effect.low > 0
    assert claim.verdict == "undecided"
    assert "mr-12, lpc, keep 6" in claim.reason


def test_claim_b_one_lost_cell_contradicts():
    claims = judge(make_cell(scratch=50), make_cell("lpc", scratch=85))
    assert claims["b2"].verdict == "contradicted"


@pytest.mark.parametrize(
    ("middle", "verdict"), [(84, "supported"), (70, "contradicted"), (78, "undecided")]
)
def test_claim_c_compares_middle_with_the_strongest_other_strategy(middle, verdict):
    claim = judge_shc_and_lpc(middle=middle)["c"]
    assert (claim.verdict, claim.effect_of) == (verdict, "middle − top")


def test_claim_c_without_another_strategy_is_untested():
    cell = replace(make_cell(top=None, bottom=None), reference="middle")
    assert judge(cell)["c"].verdict == "untested"


def test_claim_d_each_strategy_worse_somewhere_is_supported():
    claim = judge(make_cell(), make_cell("lpc", top=70, middle=74, bottom=80))["d"]
    assert claim.verdict == "supported"
    assert "each is worse than another in some cell" in claim.reason


def test_claim_d_one_winner_of_all_cells_contradicts():
    claim = judge_shc_and_lpc(top=90)["d"]
    assert (claim.verdict, claim.effect_of) == ("contradicted", "top − middle")
    assert claim.effect.mean == pytest.approx(0.14)
    assert claim.cell_verdict("mr-12, lpc, keep 6") == "contradicted"


def test_claim_d_two_equal_leaders_are_undecided():
    assert judge_shc_and_lpc(top=78, middle=78)["d"].verdict == "undecided"


def test_claims_c_and_d_rank_an_entrant_that_stopped_early_on_its_own_seeds():
    def right(*counts):
        return predictions_with(np.array([np.arange(ROWS) < count for count in counts]))

    def cell(task):  # the first seed is easy for all, and the only one of bottom
        made = {"found": right(900, 700, 700), "full": right(900, 700, 700)}
        made |= {"top": right(900, 700, 700), "middle": right(910, 710, 710)}
        return cell_of({**made, "bottom": right(850)}, task)

    claims = judge(cell("shc"), cell("lpc"))
    assert claims["c"].reason.startswith("the best on test in 2 of 2 cells")
    assert claims["d"].effect_of == "middle − top"


def test_claim_d_on_one_model_and_task_is_untested():
    assert judge(make_cell(), make_cell(keep=2))["d"].verdict == "untested"


@pytest.mark.parametrize(
    ("found", "verdict"), [(70, "supported"), (90, "contradicted"), (80, "undecided")]
)
def test_claim_e_compares_monolingual_with_multilingual(found, verdict):
    cells = [
        *(make_cell(task) for task in ("shc", "lpc")),
        *(make_cell(task, model="muril", found=found) for task in ("shc", "lpc")),
    ]
    claim = judge(*cells, multilingual=["muril"])["e"]
    assert claim.verdict == verdict
    assert [result.test.second for result in claim.results] == ["muril", "muril"]
    assert judge(*cells)["e"].verdict == "untested"


@pytest.mark.parametrize(
    ("found", "wobble", "verdict", "words"),
    [
        (84, 0, "supported", "better on average"),
        (74, 0, "contradicted", "worse in 2 of 2"),
        (79, 60, "undecided", "reaches"),
    ],
)
def test_claim_f_compares_with_the_best_fixed_strategy(found, wobble, verdict, words):
    claim = judge_shc_and_lpc(found=found, wobble=wobble)["f"]
    assert claim.verdict == verdict
    assert words in claim.reason


def test_claim_f_the_fixed_strategy_itself_is_as_good():
    claim = judge_shc_and_lpc(recommended="top")["f"]
    assert claim.verdict == "supported"
    assert claim.effect == PairedDifference(0.0, 0.0, 0.0, 1.0)
    assert "itself in 2" in claim.reason
