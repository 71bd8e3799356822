"""Study export: the learning rate that a layout is exported with."""

import dataclasses
from types import SimpleNamespace

import pytest

from autoprune.experiment.study_export import export_source
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
    records = [
        SimpleNamespace(
            origin=origin,
            layout=Layout.parse(text),
            budget=dataclasses.replace(FULL, learning_rate=rate),
        )
        for origin, (text, rate) in ROWS.items()
    ]
    study = SimpleNamespace(comparison=SimpleNamespace(records=records))
    unused = dict.fromkeys(("checkpoint", "task", "splits", "test"))
    inputs = SimpleNamespace(test=None)
    experiment = SimpleNamespace(
        depth=4,
        entrant_budgets=lambda _: (FULL,),
        inputs=inputs,
        evaluator=lambda budget: budget,
        **unused,
    )

    def rate_for(text):
        budget = export_source(study, experiment, Layout.parse(text)).evaluator
        assert dataclasses.replace(budget, learning_rate=FULL.learning_rate) == FULL
        return budget.learning_rate

    return rate_for


@pytest.mark.parametrize("origin", ["found", "top", "full"])
def test_learning_rate_of_a_compared_layout_is_the_tuned_one(rate_for, origin):
    text, rate = ROWS[origin]
    assert rate_for(text) == rate


@pytest.mark.parametrize("text", ["4:0,3", "4:2-3"])
def test_learning_rate_of_another_layout_is_that_of_the_full_budget(rate_for, text):
    assert rate_for(text) == FULL.learning_rate
