"""Measured costs come back as they were written, and are shown of the right layout only."""

import dataclasses
import json

import pytest

from autoprune.errors import StudyError
from autoprune.evaluation.costs import COST_FILE, read_costs, write_costs
from autoprune.layouts.layout import Layout


def test_read_costs_returns_what_was_written(costs, comparison, tmp_path):
    write_costs(tmp_path, costs)
    assert read_costs(tmp_path, comparison) == costs
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl"] == [COST_FILE]


def test_read_costs_without_a_file_is_none(comparison, tmp_path):
    assert read_costs(tmp_path, comparison) is None


def test_read_costs_of_another_recommended_layout_is_none(costs, comparison, tmp_path):
    assert comparison.recommended == "found"
    models = [dataclasses.replace(cost, layout=Layout.parse("4:0,3")) for cost in costs.models]
    write_costs(tmp_path, dataclasses.replace(costs, models=tuple(models)))
    assert read_costs(tmp_path, comparison) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: text[:-40],
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"bytes"', '"octets"'),
        lambda text: text.replace("4:0,2", "4:0,9"),
        lambda text: text.replace('"low"', '"least"'),
    ],
)
def test_read_costs_names_a_broken_file(costs, comparison, tmp_path, spoil):
    write_costs(tmp_path, costs)
    path = tmp_path / COST_FILE
    path.write_text(spoil(path.read_text()))
    with pytest.raises(StudyError, match="run `autoprune cost` again") as caught:
        read_costs(tmp_path, comparison)
    assert "\n" not in str(caught.value)


def test_write_costs_writes_plain_json(costs, tmp_path):
    write_costs(tmp_path, costs)
    entry = json.loads((tmp_path / COST_FILE).read_text())
    assert entry["models"][1]["layout"] == "4:0,2"
    assert entry["models"][1]["latency"]["median"] == 0.004
