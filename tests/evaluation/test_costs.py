"""Measured costs come back as they were written, and are shown of the right layout only."""

import dataclasses
import json

import pytest

from autoprune.errors import StudyError
from autoprune.evaluation.costs import COST_FILE, read_costs, write_costs
from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown_report import markdown_report


def test_costs_come_back_as_they_were_written(costs, comparison, tmp_path):
    write_costs(tmp_path, costs)
    assert read_costs(tmp_path, comparison) == costs
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl"] == [COST_FILE]


def test_a_study_without_measured_costs_has_none(comparison, tmp_path):
    assert read_costs(tmp_path, comparison) is None


def test_costs_of_another_layout_than_the_recommended_one_are_not_shown(
    costs, comparison, tmp_path
):
    assert comparison.recommended == "found"
    models = [dataclasses.replace(one, layout=Layout.parse("4:0,3")) for one in costs.models]
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
def test_a_broken_file_is_told(costs, comparison, tmp_path, spoil):
    write_costs(tmp_path, costs)
    path = tmp_path / COST_FILE
    path.write_text(spoil(path.read_text()))
    with pytest.raises(StudyError, match="run `autoprune cost` again") as told:
        read_costs(tmp_path, comparison)
    assert "\n" not in str(told.value)


def test_the_file_is_plain_json(costs, tmp_path):
    write_costs(tmp_path, costs)
    entry = json.loads((tmp_path / COST_FILE).read_text())
    assert entry["models"][1]["layout"] == "4:0,2"
    assert entry["models"][1]["latency"]["median"] == 0.004


def test_markdown_shows_the_costs_with_their_intervals(setting, comparison, costs):
    text = markdown_report(setting, comparison, [], costs)
    row = "| found | ●○●○ | 4.00 (3.64 to 4.44) | 1,140 (1,000 to 1,250) |"
    assert f"{row} 2.00 (1.75 to 2.25) | 20 | 12.5 | 1,234,567 | 234,567 | 1.5 |" in text
    assert "| small &lt;b&gt;\\| | ●● | 3.00 (2.73 to 3.33) |" in text
    assert "|  | 12.5 | 1,234,567 |" in text  # its memory was not measured
    assert "Little gain: 1.20 times." in text
    assert "found is ●○●○ 4:0,2." in text
    assert "not measured yet" not in text


def test_markdown_says_how_costs_are_measured(setting, comparison):
    text = markdown_report(setting, comparison, [])
    assert "throughput are not measured yet: the command autoprune cost" in text
