"""Tables of a study as plain values."""

import json

import pytest

from autoprune.evaluation.racing import compare_entrants
from autoprune.reporting.tables import comparison_as_json


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
