"""Shortcuts that leave the score as it is, bit for bit."""

from dataclasses import replace

import pytest

from autoprune.layouts.layout import Layout
from autoprune.scoring import bench as benches
from autoprune.scoring.names import METHOD_NAMES

HALF = Layout(4, (0, 2))


@pytest.fixture
def predicted(monkeypatch):
    """Count the evaluations of the validation split."""
    plain, calls = benches.predict, []

    def counted(*args):
        calls.append(1)
        return plain(*args)

    monkeypatch.setattr(benches, "predict", counted)
    return calls


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_checks_that_nobody_hears_of_are_left_out_and_change_no_score(
    bench, budget, method, predicted
):
    bench = replace(bench, budget=replace(budget, method=method))
    heard = []
    watched = bench.measure(HALF, 3, lambda quality, steps: heard.append((quality, steps)))
    with_checks = len(predicted)
    unwatched = bench.measure(HALF, 3)
    assert replace(watched, seconds=0) == replace(unwatched, seconds=0)
    assert [steps for _, steps in heard] == [4, 8, 12]
    assert with_checks - (len(predicted) - with_checks) == 2


def test_a_budget_with_patience_hears_of_every_check(bench, budget, predicted):
    replace(bench, budget=replace(budget, patience=3)).measure(HALF, 3)
    assert len(predicted) == 3
