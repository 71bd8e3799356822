"""What an export starts from: the study's own learning rate for the layout, where it chose one."""

import dataclasses
from types import SimpleNamespace

import pytest

from autoprune.cli.exporting import source_of
from autoprune.layouts.layout import Layout
from autoprune.training.budget import Budget

FULL = Budget(steps=9, learning_rate=1e-4)
ROWS = {
    "found": ("4:0,2", 2e-4),
    "top": ("4:0-1", 3e-4),
    "full": ("4:0-3", 4e-4),
    "small": ("4:2-3", 5e-4),  # a rival's: another model
}


@pytest.fixture
def rate_for():
    """Return a function that gives the rate that a layout's text is exported with."""
    rows = [
        SimpleNamespace(origin=origin, layout=Layout.parse(text), learning_rate=rate)
        for origin, (text, rate) in ROWS.items()
    ]
    studied = SimpleNamespace(comparison=SimpleNamespace(rows=rows))
    nothing = dict.fromkeys(("checkpoint", "task", "splits", "test"))
    inputs = SimpleNamespace(test=None)
    ground = SimpleNamespace(full=FULL, inputs=inputs, bench=lambda budget: budget, **nothing)

    def rate_for(text):
        budget = source_of(studied, ground, Layout.parse(text)).bench
        assert dataclasses.replace(budget, learning_rate=FULL.learning_rate) == FULL
        return budget.learning_rate

    return rate_for


@pytest.mark.parametrize("origin", ["found", "top", "full"])
def test_a_compared_layout_keeps_its_rate(rate_for, origin):
    text, rate = ROWS[origin]
    assert rate_for(text) == rate


@pytest.mark.parametrize("text", ["4:0,3", "4:2-3"])
def test_any_other_has_that_of_the_full_budget(rate_for, text):
    assert rate_for(text) == FULL.learning_rate
