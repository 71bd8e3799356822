"""Markdown report: each number is in its column, and no text can break it."""

import dataclasses
import re

import pytest

from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.verdict import comparison_verdict
from autoprune.reporting.markdown import escape_markdown, markdown_report
from autoprune.reporting.tables import layer_effects

NASTY = "a|b `c` <script>x</script> *d* [e](f)\n# g\r\x1b[31m\u202eh \udc80 $i$"


@pytest.fixture
def trials(trial):
    return [
        trial("4:0-1", 0.41, origin="top"),
        trial("4:2-3", None, origin="bottom", state="failed", reason="loss is not a number"),
        trial("4:0,2", 0.83),
        trial("4:1-2", 0.22, state="pruned"),
        trial("4:0,3", 0.64),
    ]


def tables(text):
    """Return each table of the report as a list of rows of cells, the header first."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in block.splitlines()]
        for block in blocks
    ]
    return [[block[0], *block[2:]] for block in rows]


def test_report_begins_with_title_and_verdict(setting, comparison, trials):
    text = markdown_report(setting, comparison, trials)
    title, second = text.split("\n\n")[:2]
    assert title == "# demo on demo: 2 of 4 layers"
    assert second == escape_markdown(comparison_verdict(comparison))


def test_comparison_table_has_each_number_in_its_column(setting, comparison, trials):
    header, *rows = tables(markdown_report(setting, comparison, trials))[0]
    found = dict(zip(header, rows[0], strict=True))
    assert found["origin"] == "found"
    assert (found["layers"], found["layout"]) == ("●○●○", "4:0,2")
    assert found["test"] == "90.0 %"
    assert found["raw"] == "91.7 %"
    assert found["validation"] == "81.0 %"
    assert found["parameters"] == "7,000"
    assert found["difference"] == "+20.0"
    assert [row[0] for row in rows] == ["found", "top", "bottom", "full", "scratch"]
    assert rows[1][header.index("difference")] == "reference"
    assert rows[2][header.index("difference")] == "−50.0"


def test_spread_table_has_what_the_comparison_has_no_room_for(setting, comparison, trials):
    header, *rows = tables(markdown_report(setting, comparison, trials))[1]
    found = dict(zip(header, rows[0], strict=True))
    assert (found["test"], found["± over seeds"]) == ("90.0 %", "0.0")
    assert found["macro-F1"] == f"{comparison.row('found').macro_f1 * 100:.1f}"


def test_trials_table_is_sorted_and_gives_the_reasons_of_failures(setting, comparison, trials):
    header, *rows = tables(markdown_report(setting, comparison, trials))[2]
    assert [row[1] for row in rows] == ["4:0,2", "4:0,3", "4:0-1", "4:1-2", "4:2-3"]
    assert [row[4] for row in rows] == ["83.0", "64.0", "41.0", "22.0", ""]
    assert rows[3][-1] == "pruned"
    assert rows[4][-1] == "failed: loss is not a number"
    assert header[4] == "validation"


def test_layers_table_counts_complete_trials_only(setting, comparison, trials):
    found = layer_effects(trials)
    assert [(e.kept, e.removed) for e in found] == [(3, 0), (1, 2), (1, 2), (1, 2)]
    assert found[2].difference == pytest.approx(0.83 - (0.41 + 0.64) / 2)
    assert found[0].difference is None
    rows = tables(markdown_report(setting, comparison, trials))[3]
    assert rows[3] == ["2", "1", "83.0", "2", "52.5", "+30.5"]
    assert layer_effects(trials[1:2]) == []


def test_report_has_cleaning_budgets_and_what_repeats_the_study(setting, comparison, trials):
    text = markdown_report(setting, comparison, trials)
    cleaning, budgets, repeat = tables(text)[4:]
    assert cleaning[2] == ["validation", "40", "0", "0", "4", "5", "31"]
    assert [row[:2] for row in budgets[1:]] == [
        ["quick (search)", "10"],
        ["full (comparison)", "50"],
    ]
    assert ["commit", "abc"] in repeat
    assert ["fresh seeds", "7, 8"] in repeat
    assert ["fingerprint of test", "f2"] in repeat
    assert ["device", "cpu, 2 threads"] in repeat
    assert "```\nautoprune search --model demo --task demo --keep 2\n```" in text
    assert "10 s for 5 trials, 25 s for 10 runs" in text


def test_report_on_a_baseline_has_no_section_on_a_search(
    setting, entrants, split, conditions, tmp_path
):
    comparison = compare_entrants(entrants[1:], (7,), split, conditions, tmp_path / "r.jsonl")
    text = markdown_report(dataclasses.replace(setting, quick=None), comparison, [])
    assert "## The search" not in text
    assert "## Which layers matter" not in text
    assert "quick" not in text
    assert "one seed" in text


def test_report_lists_failures_and_notes(setting, entrant, split, conditions, tmp_path):
    noted = entrant("bottom", "4:2-3", (1,), 0.4)

    def begin(seed, path):
        return lambda: dataclasses.replace(noted.begin(seed, path)(), notes=("batch halved to 16",))

    entrants = [
        entrant("top", "4:0-1", (0,), 0.5),
        dataclasses.replace(noted, begin=begin),
        entrant("full", "4:0-3", (), 0.5, fails=(8,)),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    text = markdown_report(setting, comparison, [])
    assert "- full failed with seed 8: loss is not a number" in text
    assert "- bottom, seed 7: batch halved to 16" in text


def test_report_escapes_hostile_texts(setting, comparison, trials):
    calm = markdown_report(setting, comparison, trials)
    trials[1] = dataclasses.replace(trials[1], reason=NASTY, origin=NASTY)
    setting = dataclasses.replace(
        setting,
        model=NASTY,
        task=NASTY,
        commit=NASTY,
        labels=(NASTY,),
        device=NASTY,
        command=f"autoprune ``` {NASTY}\n# x",
        versions={NASTY: NASTY},
        fingerprints={NASTY: NASTY},
        cleaned=(dataclasses.replace(setting.cleaned[0], split=NASTY),),
    )
    rows = comparison.rows
    hostile = dataclasses.replace(
        comparison,
        left_out=(NASTY,),
        rows=(*rows[:-1], dataclasses.replace(rows[-1], origin=NASTY)),
        against={**comparison.against, NASTY: comparison.against["full"]},
    )
    text = markdown_report(setting, hostile, trials)
    text.encode()
    outside = re.sub(r"^(`{3,})\n.*\n\1$", "", text, flags=re.MULTILINE)
    assert outside != text
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)`", outside)
    assert not {"\x1b", "\u202e", "\r"} & set(text)
    assert len(tables(text)) == len(tables(calm))
    assert [len({len(row) for row in block}) for block in tables(text)] == [1] * len(tables(text))
    headings = [found for found in text.splitlines() if found.startswith("#")]
    assert headings[1:] == [found for found in calm.splitlines() if found.startswith("#")][1:]


def test_report_shows_measured_costs_with_their_intervals(setting, comparison, costs):
    text = markdown_report(setting, comparison, [], costs)
    row = "| found | ●○●○ | 4.00 (3.64 to 4.44) | 1,140 (1,000 to 1,250) |"
    assert f"{row} 2.00 (1.75 to 2.25) | 20 | 12.5 | 1,234,567 | 234,567 | 1.5 |" in text
    assert "| small &lt;b&gt;\\| | ●● | 3.00 (2.73 to 3.33) |" in text
    assert "|  | 12.5 | 1,234,567 |" in text  # its memory was not measured
    assert "Little gain: 1.20 times." in text
    assert "found is ●○●○ 4:0,2." in text
    assert "not measured yet" not in text


def test_report_without_costs_says_how_to_measure_them(setting, comparison):
    text = markdown_report(setting, comparison, [])
    assert "throughput are not measured yet" in text
    assert "```\nautoprune cost STUDY\n```" in text
