"""Tables of a study as plain values."""

import json
from dataclasses import replace

import pytest

from autoprune.evaluation.racing import compare_entrants
from autoprune.reporting.tables import budgets_table, comparison_as_json
from autoprune.training.budget import Distillation


def test_comparison_as_json_has_documented_keys_and_plain_values(
    comparison, entrants, split, conditions
):
    rows = json.loads(json.dumps(comparison_as_json(comparison), allow_nan=False))
    promised = {"origin", "layout", "test_mean", "test_std", "seeds", "parameters", "difference"}
    assert promised | {"low", "high", "p_value", "test_raw_mean", "validation_mean"} <= set(rows[0])
    assert rows[0]["layout"] == "4:0,2"
    assert rows[0]["test_mean"] == pytest.approx(0.9)
    assert rows[0]["test_raw_mean"] == pytest.approx(11 / 12)
    assert rows[0]["validation_mean"] == pytest.approx(0.81)
    assert rows[0]["difference"] == pytest.approx(0.2)
    assert rows[0]["low"] < 0.2 < rows[0]["high"]
    assert (rows[1]["difference"], rows[1]["p_value"]) == (0, 1)


def test_comparison_as_json_of_one_seed_has_no_nan(entrants, split, conditions, tmp_path):
    comparison = compare_entrants(entrants, (7,), split, conditions, tmp_path / "r.jsonl")
    [first, *_] = json.loads(json.dumps(comparison_as_json(comparison), allow_nan=False))
    assert first["test_std"] is None


def test_budgets_of_distilled_entrants_are_a_row_in_words(setting, comparison):
    learned = Distillation("logits", "full, seeds 1 2", 2.0, 0.7)
    first, *others = comparison.records
    distilled = replace(first.budget, steps=2 * first.budget.steps, distillation=learned)
    table = budgets_table(setting, [*others, replace(first, budget=distilled)])
    named = dict(zip(table.header, table.rows[-1], strict=True))
    assert named["budget"] == "distilled (comparison)"
    assert named["steps"] == str(2 * first.budget.steps)
    assert named["distillation"] == "logits, temperature 2, weight 0.7"
    assert len(budgets_table(setting, comparison.records).rows) == 2
