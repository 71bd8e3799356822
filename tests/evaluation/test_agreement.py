"""The rank correlation of a cheap score, with an interval that tells chance from worth."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from autoprune.evaluation.statistics import layout_rank_correlation, rank_correlation
from autoprune.layouts.layout import all_layouts


def test_ranks_are_compared_not_values():
    found = rank_correlation([1, 2, 3, 4, 50, 60], [0.1, 0.2, 0.3, 0.4, 0.41, 0.9])
    assert (found.correlation, found.low, found.high) == pytest.approx((1, 1, 1))
    assert str(found) == "+1.00 (+1.00 to +1.00)"
    turned = rank_correlation([6, 5, 4, 3, 2, 1], [0.1, 0.2, 0.3, 0.4, 0.41, 0.9])
    assert str(turned) == "−1.00 (−1.00 to −1.00)"


def test_it_is_spearmans_also_with_ties():
    rng = np.random.default_rng(0)
    hints, qualities = rng.integers(0, 5, 40), rng.normal(size=40)
    found = rank_correlation(hints, qualities)
    assert found.correlation == pytest.approx(spearmanr(hints, qualities).statistic)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Over 200 draws of 30 pairs with a correlation of about 0.48 between ranks."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        hints = rng.normal(size=30)
        found = rank_correlation(hints, 0.5 * hints + np.sqrt(0.75) * rng.normal(size=30))
        held += found.low <= 0.483 <= found.high
    assert 0.88 <= held / 200 <= 0.98


@pytest.mark.parametrize(
    ("hints", "qualities"), [([1, 2, 3, 4], [1, 2, 3, 4]), ([1] * 6, range(6)), (range(6), [2] * 6)]
)
def test_what_cannot_be_compared_is_not(hints, qualities):
    assert rank_correlation(list(hints), list(qualities)) is None


def test_runs_of_one_layout_are_one_piece_of_evidence():
    """Noise hardly ever looks sure, however often its leaders are run again."""
    rng, layouts, sure = np.random.default_rng(2), all_layouts(6, 2), 0
    assert layout_rank_correlation(dict.fromkeys(layouts, 0.0), [(layouts[0], 0.1)] * 9) is None
    for _ in range(100):
        hints = dict(zip(layouts, rng.normal(size=len(layouts)), strict=True))
        truth = rng.normal(size=len(layouts))
        again = [*range(len(layouts)), *np.repeat(np.argsort(-truth)[:3], 4)]
        found = layout_rank_correlation(
            hints, [(layouts[i], truth[i] + 0.1 * rng.normal()) for i in again]
        )
        sure += found.low > 0 or found.high < 0
    assert sure <= 12
