"""Dashboard note and plots: complete, and no name of a user runs as code."""

import dataclasses

import pytest

from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.layouts.layout import all_layouts
from autoprune.reporting.dashboard_note import (
    StudyDescription,
    dashboard_plots,
    first_note,
    result_note,
)
from autoprune.reporting.search_plots import rank_layouts

NASTY = "<img src=x onerror=boom()> **b** | [x](javascript:boom()) $x$ `c`\n# head"
NEVER = ("<img", "**b**", " [x](", "\n# head", " $x$", " `c`")


@pytest.fixture
def note(finished_study):
    study = finished_study
    return result_note(study.setting, study.comparison, study.trials)


def test_result_note_has_what_how_and_result(note, finished_study):
    headings = [line for line in note.splitlines() if line.startswith("#")]
    assert headings == ["## What", "## How", "## Result"]
    what, how, result = (part.strip() for part in note.split("## ")[1:])
    assert "Which 2 of the 4 layers of demo@abc should be kept for the task demo?" in what
    assert "3 labels (sport, health, auto)" in what
    assert "fine-tuned for 10 steps of 32 texts" in how
    assert "up to 50 steps" in how
    assert f"{len(finished_study.trials)} trials on cpu, 2 threads" in how
    assert finished_study.setting.command in how
    assert comparison_verdict(finished_study.comparison) in result
    assert recommendation(finished_study.comparison) in result
    assert "| found | ●○●○ | 90.0 % | 81.0 % | +20.0 |" in result
    assert "| top | ●●○○ | 70.0 % | 61.0 % | reference |" in result


def test_first_note_says_the_same_without_a_result(note, finished_study):
    setting = finished_study.setting
    budgets = setting.quick, setting.full
    first = first_note(
        StudyDescription("demo@abc", "demo", setting.labels, "accuracy", 4, 2, *budgets)
    )
    assert first.partition("## How")[0] == note.partition("## How")[0]
    assert "## Result\n\nNone yet" in first


def test_first_note_cuts_many_labels(finished_study):
    labels = [f"label{number}" for number in range(40)]
    budgets = finished_study.setting.quick, finished_study.setting.full
    note = first_note(StudyDescription("m@1", "t", labels, "accuracy", 4, 2, *budgets))
    assert "40 labels" in note
    assert "label11 and 28 more)" in note


def test_notes_escape_hostile_names(finished_study):
    hostile = dataclasses.replace(
        finished_study.setting, model=NASTY, task=NASTY, labels=(NASTY, "b", "c"), device=NASTY
    )
    note = result_note(hostile, finished_study.comparison, ())
    quick, full = hostile.quick, hostile.full
    note += first_note(StudyDescription(NASTY, NASTY, (NASTY,), "accuracy", 4, 2, quick, full))
    assert [mark for mark in NEVER if mark in note] == []
    assert "&lt;img src=x onerror=boom()&gt;" in note


def test_dashboard_plots_have_titles_and_all_layouts(finished_study):
    plots = dashboard_plots(finished_study.trials)
    assert list(plots) == ["layer-effects", "layout-map"]
    assert len({figure.layout.title.text for figure in plots.values()}) == 2
    [cells] = plots["layout-map"].data
    assert len(cells.y) == len(rank_layouts(finished_study.trials)) == 6
    assert plots["layer-effects"].data[0].x == (0, 1, 2, 3)


def test_layout_map_of_many_layouts_has_the_best(trial):
    trials = [trial(str(layout), 0.3 + 0.01 * i) for i, layout in enumerate(all_layouts(8, 3))]
    [cells] = dashboard_plots(trials)["layout-map"].data
    assert len(cells.y) == 20
    assert cells.y[0] == f"{trials[-1].layout}  85.0 %"
    assert "best 20 of 56" in dashboard_plots(trials)["layout-map"].layout.title.text
