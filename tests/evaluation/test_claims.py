"""The claims on made-up cells whose answer is known: each verdict is reached, for its reason."""

from dataclasses import replace

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st

from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.predictions import Predictions
from autoprune.evaluation.statistics import holm_correction
from autoprune.layouts.layout import Layout
from autoprune.reproduction.claims import test_claims
from autoprune.reproduction.page import claims_page, grid_plot, grid_table
from autoprune.reproduction.paired_tests import (
    CellResult,
    corrected_results,
    paired_test,
    pooled_p_value,
)
from autoprune.reproduction.report import ReproductionReport

ROWS = 1000
LAYOUTS = {
    "found": "12:0-4,6",
    "top": "12:0-5",
    "middle": "12:0-2,9-11",
    "bottom": "12:6-11",
    "full": "12:0-11",
    "scratch": "6:0-5",
    "mr-6": "6:0-5",
}
TYPICAL = {"found": 80, "top": 78, "middle": 76, "bottom": 74, "full": 80, "scratch": 70}


def right(points, wobble=0):
    """Answers of three seeds that have the first rows right; the seeds differ by `wobble` rows."""
    counts = [10 * points - wobble, 10 * points, 10 * points + wobble]
    return of(np.array([np.arange(ROWS) < count for count in counts]))


def of(correct):
    """Answers whose rows are right where `correct` (seeds, rows) says so."""
    return Predictions(np.ones(correct.shape[1], dtype=int), correct.astype(int), "accuracy")


def row(origin, answers, layout=None):
    quality = float(answers.values.mean())
    gap = PairedDifference(0.0, 0.0, 0.0, 1.0)
    layout = Layout.parse(layout or LAYOUTS[origin])
    return ComparisonRow(
        origin,
        layout,
        1000,
        3,
        quality,
        0.0,
        quality,
        quality,
        quality,
        quality,
        0.5,
        9.0,
        5e-4,
        gap,
    )


def cell(task="shc", keep=6, model="mr-12", recommended="found", wobble=0, layouts=(), **points):
    """A cell whose entrants have so many per cent of the rows right."""
    scores = {**TYPICAL, **{name.replace("_", "-"): value for name, value in points.items()}}
    answers = {
        name: right(value, wobble if name == recommended else 0)
        for name, value in scores.items()
        if value is not None
    }
    rows = {name: row(name, one, dict(layouts).get(name)) for name, one in answers.items()}
    return CellResult(model, task, keep, answers, rows, "top", recommended, task)


def verdicts(*cells, multilingual=()):
    return {one.letter: one for one in test_claims(cells, multilingual, 0.01)}


@pytest.mark.parametrize(
    ("full", "wobble", "verdict"),
    [(80, 0, "supported"), (85, 0, "contradicted"), (80, 60, "undecided"), (70, 0, "supported")],
)
def test_comparable_to_the_full_model(full, wobble, verdict):
    found = verdicts(cell(full=full, wobble=wobble), cell("lpc", full=full, wobble=wobble))["a"]
    assert found.verdict == verdict
    assert found.effect.mean == pytest.approx((80 - full) / 100)
    assert [found.of_cell(f"mr-12, {task}, keep 6") for task in ("shc", "lpc")] == [verdict] * 2


def test_one_cell_far_below_the_full_model_contradicts():
    found = verdicts(cell(full=60), cell("lpc", full=90))["a"]
    assert found.effect.low > -0.01
    assert found.verdict == "contradicted"
    assert "mr-12, lpc, keep 6" in found.reason


@pytest.mark.parametrize(
    ("scratch", "rival", "random", "pretrained"),
    [
        (70, 70, "supported", "supported"),
        (90, 70, "contradicted", "supported"),
        (70, 90, "supported", "contradicted"),
        (80, None, "undecided", "untested"),
    ],
)
def test_small_models_of_both_kinds_are_told_apart(scratch, rival, random, pretrained):
    found = verdicts(cell(scratch=scratch, mr_6=rival), cell("lpc", scratch=scratch, mr_6=rival))
    assert (found["b2"].verdict, found["b1"].verdict) == (random, pretrained)


def test_better_on_average_but_not_everywhere_is_not_consistent():
    found = verdicts(cell(scratch=60), cell("lpc", scratch=80))["b2"]
    assert found.effect.low > 0
    assert found.verdict == "undecided"
    assert "mr-12, lpc, keep 6" in found.reason


def test_one_lost_cell_contradicts_what_is_claimed_of_all():
    assert verdicts(cell(scratch=50), cell("lpc", scratch=85))["b2"].verdict == "contradicted"


@pytest.mark.parametrize(
    ("middle", "verdict", "against"),
    [(84, "supported", "top"), (70, "contradicted", "top"), (78, "undecided", "top")],
)
def test_middle_against_the_strongest_other_strategy(middle, verdict, against):
    found = verdicts(cell(middle=middle), cell("lpc", middle=middle))["c"]
    assert (found.verdict, found.effect_of) == (verdict, f"middle − {against}")


def test_middle_alone_cannot_be_the_best():
    alone = replace(cell(top=None, bottom=None), reference="middle")
    assert verdicts(alone)["c"].verdict == "untested"


def test_no_winner_where_each_strategy_is_beaten_somewhere():
    turned = cell("lpc", top=70, middle=74, bottom=80)
    found = verdicts(cell(), turned)["d"]
    assert found.verdict == "supported"
    assert "each is worse than another in some cell" in found.reason


def test_a_winner_of_all_cells_is_one():
    found = verdicts(cell(top=90), cell("lpc", top=90))["d"]
    assert found.verdict == "contradicted"
    assert found.effect_of == "top − middle"
    assert found.effect.mean == pytest.approx(0.14)
    assert found.of_cell("mr-12, lpc, keep 6") == "contradicted"


def test_two_equal_leaders_leave_it_undecided():
    same = {"top": 78, "middle": 78}
    assert verdicts(cell(**same), cell("lpc", **same))["d"].verdict == "undecided"


def test_one_model_and_task_cannot_tell_of_models_and_data():
    assert verdicts(cell(), cell(keep=2))["d"].verdict == "untested"


@pytest.mark.parametrize(
    ("other", "verdict"), [(70, "supported"), (90, "contradicted"), (80, "undecided")]
)
def test_monolingual_against_multilingual(other, verdict):
    cells = [cell(), cell("lpc"), cell(model="muril", found=other)]
    cells.append(cell("lpc", model="muril", found=other))
    found = verdicts(*cells, multilingual=["muril"])["e"]
    assert found.verdict == verdict
    assert [one.tested.second for one in found.findings] == ["muril", "muril"]
    assert verdicts(*cells)["e"].verdict == "untested"


@pytest.mark.parametrize(
    ("found", "wobble", "verdict", "word"),
    [
        (84, 0, "supported", "better on average"),
        (74, 0, "contradicted", "worse in 2 of 2"),
        (79, 60, "undecided", "reaches"),
    ],
)
def test_searched_against_the_best_fixed_strategy(found, wobble, verdict, word):
    told = verdicts(cell(found=found, wobble=wobble), cell("lpc", found=found, wobble=wobble))["f"]
    assert told.verdict == verdict
    assert word in told.reason


def test_the_fixed_strategy_itself_is_at_least_as_good():
    told = verdicts(cell(recommended="top"), cell("lpc", recommended="top"))["f"]
    assert told.verdict == "supported"
    assert told.effect == PairedDifference(0.0, 0.0, 0.0, 1.0)
    assert "itself in 2" in told.reason


def test_equal_layouts_do_not_count_as_tests():
    same = cell(found=78, layouts={"found": "12:0-5"}.items())
    other = cell("lpc", found=79)
    one, two = corrected_results(
        [paired_test(same, "found", "top"), paired_test(other, "found", "top")]
    )
    assert one.corrected == 1.0
    assert two.corrected == two.difference.p_value


def test_scratch_and_a_rival_of_one_shape_are_two_models():
    assert not cell(mr_6=75).same("scratch", "mr-6")


def test_cells_on_the_same_rows_are_not_independent():
    alone = pooled_p_value([paired_test(cell(), "found", "scratch")])
    twice = pooled_p_value(
        [paired_test(cell(), "found", "scratch"), paired_test(cell(keep=2), "found", "scratch")]
    )
    apart = pooled_p_value(
        [paired_test(cell(), "found", "scratch"), paired_test(cell("lpc"), "found", "scratch")]
    )
    assert (twice.mean, twice.low) == pytest.approx((alone.mean, alone.low))
    assert apart.mean - apart.low == pytest.approx((alone.mean - alone.low) / 2**0.5)


def test_each_cell_weighs_the_same():
    gap = pooled_p_value(
        [
            paired_test(cell(top=70), "found", "top"),
            paired_test(cell("lpc", top=76), "found", "top"),
        ]
    )
    assert gap.mean == pytest.approx(0.07)


def test_holm_by_known_answer():
    # Holm 1979; R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction([]) == []


@given(st.lists(st.floats(1e-90, 1.0), min_size=1, max_size=9))
def test_holm_keeps_the_order_and_is_between_p_and_bonferroni(p_values):
    corrected = holm_correction(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)


def test_holm_decides_a_family():
    """Two cells at p 0.03 each: neither is significant once both are counted."""
    correct = np.zeros((3, ROWS), dtype=bool)
    correct[:, :6] = True  # six rows better in all seeds: p = 2 / 2^6
    better, none_right = of(correct), of(np.zeros((3, ROWS), dtype=bool))

    def made(task):
        answers = {"found": better, "top": none_right}
        rows = {name: row(name, one) for name, one in answers.items()}
        return paired_test(
            CellResult("mr-12", task, 6, answers, rows, "top", "found", task), "found", "top"
        )

    [alone] = corrected_results([made("shc")])
    both = corrected_results([made("shc"), made("lpc")])
    assert alone.better
    assert [one.corrected for one in both] == pytest.approx([2 / 32, 2 / 32])
    assert not any(one.better for one in both)


def test_a_large_test_split_does_not_outweigh_the_mean_over_cells():
    """2,000 rows lose 40 answers, 100 rows win 20: the mean is +9, and p must be of that mean."""

    def made(task, rows, changed, won):
        plain, other = np.arange(rows) < rows // 2, np.arange(rows) < rows // 2
        start = rows // 2 if won else rows // 2 - changed
        other[start : start + changed] ^= True
        answers = {"found": of(other[None]), "top": of(plain[None])}
        table = {name: row(name, one) for name, one in answers.items()}
        return paired_test(
            CellResult("m", task, 6, answers, table, "top", "found", task), "found", "top"
        )

    large, small = made("ldc", 2000, 40, False), made("shc", 100, 20, True)
    found = pooled_p_value([large, small])
    assert found.mean == pytest.approx((0.2 - 0.02) / 2)
    assert found.p_value < 0.001
    alone = pooled_p_value([large]), pooled_p_value([small])
    assert all(one.p_value < 0.001 for one in alone)
    # Ten of a hundred rows against two hundred of two thousand: a mean of 0, so no evidence.
    level = pooled_p_value([made("ldc", 2000, 200, False), made("shc", 100, 10, True)])
    assert level.mean == pytest.approx(0.0)
    assert level.p_value > 0.5


NASTY = "<script>window.pwned=1</script><img src=http://x.invalid/ onerror=pwned=2>"


@pytest.fixture(scope="module")
def page():
    """The page of two cells of models with one name that is out to run as code."""
    cells = (cell(keep=6), cell(keep=2, task=NASTY, model=NASTY, full=70, mr_6=71))
    found = ReproductionReport(
        NASTY, cells, tuple(test_claims(cells, (), 0.01)), (NASTY,), (NASTY,), NASTY
    )
    return claims_page(found)


@pytest.mark.parametrize(("width", "theme"), [(400, "dark"), (1400, "light")])
def test_everyone_can_read_the_page(browse, page, width, theme, tmp_path):
    tab = browse(page, width, theme)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert tab.events == [f"request {(tmp_path / 'page.html').as_uri()}"]
    assert tab.evaluate("typeof window.pwned") == "undefined"
    assert NASTY in tab.locator("h1").inner_text()
    verdicts = tab.locator(".badge").all_inner_texts()
    assert len(verdicts) == 7 and set(verdicts) <= {
        "Supported",
        "Contradicted",
        "Undecided",
        "Untested",
    }


def test_the_page_is_below_six_megabytes(page):
    assert len(page.encode()) < 6 * 2**20


def test_the_glance_draws_what_its_table_says():
    cells = [cell(), cell(keep=2, full=None), cell(keep=3, found=70, full=85, mr_6=86)]
    drawn = {
        (trace.name, round(float(gap), 6)) for trace in grid_plot(cells).data for gap in trace.x
    }
    assert ("recommended", -15.0) in drawn and ("rival", 1.0) in drawn
    assert ("scratch", -10.0) in drawn
    rows = grid_table(cells).rows
    assert {name for name, *_ in rows} == {cells[0].name, cells[2].name}
    assert (cells[2].name, "recommended", "found", "-15.0") in rows
