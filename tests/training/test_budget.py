"""Budgets: what is refused, and that they are stored with the keys of the first version."""

import pytest

from autoprune.choices import METHOD_NAMES
from autoprune.errors import OptionError, UnknownNameError
from autoprune.training.budget import Budget, default_learning_rate


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("tokens", -1), ("learning_rate", 0.0), ("learning_rate", 2.0),
     ("checks", 0), ("patience", 0), ("parts", 0)],
)  # fmt: skip
def test_budget_with_an_impossible_value_is_refused(name, value):
    with pytest.raises(OptionError, match="must"):
        Budget(**{"steps": 1, name: value})


@pytest.mark.parametrize("pause_at", [0, 13])
def test_budget_with_a_pause_outside_of_its_steps_is_refused(pause_at):
    with pytest.raises(OptionError, match="within the 12 steps"):
        Budget(steps=12, pause_at=pause_at)


def test_budget_with_an_unknown_method_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        Budget(steps=1, method="lorra")


def test_budget_is_stored_with_the_keys_of_the_first_version():
    budget = Budget(steps=7, patience=2, pause_at=3)
    stored = budget.to_dict()
    assert (list(stored)[-1], stored["until"], "pause_at" in stored) == ("until", 3, False)
    assert Budget.from_dict(stored) == budget
    assert Budget.from_dict({"steps": 7}) == Budget(steps=7), "older records have fewer keys"


def test_removed_method_is_read_and_no_longer_used():
    assert Budget.from_dict({"steps": 7, "method": "lora-upper"}).method == "lora-upper"
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        default_learning_rate(128, "lora-upper")


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("hidden", [64, 768])
def test_default_learning_rate_stays_below_the_rate_at_which_training_diverges(hidden, method):
    assert 0 < default_learning_rate(hidden, method) <= 5e-3
