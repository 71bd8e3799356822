"""Plots: they have the right numbers, and show any text as text."""

import json
import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.evaluation.racing import compare_entrants
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.reporting.html.comparison import differences_plot, quality_plot
from autoprune.reporting.html.render import layout_svg
from autoprune.reporting.html.search import layer_pairs, pairs_plot, pairs_table
from autoprune.reporting.plot_style import DARK, MAX_LABEL, short_label
from autoprune.reporting.search_plots import (
    importances_plot,
    layer_effects_plot,
    layout_map_plot,
    progress_plot,
    rank_layouts,
)
from autoprune.reporting.sections import search_summary
from autoprune.reporting.tables import same_budget_trials, trials_table
from autoprune.training.budget import Budget
from autoprune.training.metrics import METRICS

ACCURACY = METRICS["accuracy"]


def contrast(color, other):
    """Return the contrast of two colors by WCAG 2.2."""

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [((p + 0.055) / 1.055) ** 2.4 if p > 0.04045 else p / 12.92 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture
def grid(trial):
    """Trials of all 20 layouts of 3 of 6 layers: additive, but 0 and 1 together give 0.1 more."""
    worth = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)
    return [
        trial(
            str(layout),
            0.3 + sum(worth[i] for i in layout.keep) + 0.1 * ({0, 1} <= set(layout.keep)),
        )
        for layout in all_layouts(6, 3)
    ]


def test_layer_effects_plot_has_kept_minus_removed(trial):
    trials = [trial("4:0-1", 0.4), trial("4:0,2", 0.8), trial("4:0,3", 0.6)]
    trials.append(trial("4:2-3", 0.1, state="pruned"))
    [bars] = layer_effects_plot(trials).data
    assert bars.x == (1, 2, 3)
    assert bars.y == pytest.approx((-30, 30, 0))
    assert bars.customdata[0] == [1, 2]
    assert bars.marker.color[0] != bars.marker.color[1]


def test_layout_map_has_the_best_layout_on_top(trial):
    trials = [
        trial("4:0-1", 0.4),
        trial("4:0,3", 0.7),
        trial("4:0-1", 0.6, seed=2),
        trial("4:2-3", None, state="failed"),
        trial("4:1-2", 0.9, state="pruned"),
    ]
    figure = layout_map_plot(rank_layouts(trials), ACCURACY)
    [cells] = figure.data
    assert list(map(list, cells.z)) == [[1, 0, 0, 1], [1, 1, 0, 0]]
    assert cells.y == ("4:0,3  70.0 %", "4:0-1  50.0 %")
    assert figure.layout.yaxis.autorange == "reversed"


@pytest.mark.parametrize(
    "draw",
    [
        layer_effects_plot,
        progress_plot,
        lambda trials: layout_map_plot(rank_layouts(trials), ACCURACY),
    ],
)
def test_plots_without_complete_trials_are_empty(draw, trial):
    for trials in ([], [trial("4:2-3", None, state="failed")]):
        assert json.loads(draw(trials).to_json())["layout"]["height"] > 0


def test_progress_plot_has_the_best_so_far(trial):
    trials = [
        trial("4:0-1", 0.5, origin="top"),
        trial("4:0,2", 0.4),
        trial("4:1-2", 0.9, state="pruned"),
        trial("4:0,3", 0.6),
        trial("4:2-3", None, state="failed"),
    ]
    best, fixed, proposed, stopped = progress_plot(trials).data
    assert list(zip(best.x, best.y, strict=True)) == [
        (1, 50),
        (2, 50),
        (3, 50),
        (4, 60),
        (5, 60),
    ]
    assert (fixed.x, proposed.x, stopped.x) == ((1,), (2, 4), (3,))


@pytest.mark.parametrize("number", [1, 3, 10, 11, 64])
def test_progress_plot_has_whole_numbers_on_its_axis(trial, number):
    axis = progress_plot([trial("4:0-1", 0.5)] * number).layout.xaxis
    assert isinstance(axis.dtick, int) and number / 10 <= axis.dtick < number / 10 + 1
    assert axis.tick0 == axis.dtick


def test_promoted_trials_are_marked_but_change_no_statistic(trial):
    """A run's end is higher than pauses are, whatever its layers are worth."""
    pause = Budget(steps=10, pause_at=3)
    pauses = [
        trial(str(layout), 0.5 + 0.01 * (0 in layout.keep), budget=pause)
        for layout in all_layouts(4, 2)
    ]
    further = trial("4:2-3", 0.9, budget=pause.whole())
    trials = [*pauses, further]
    best, _, ends = progress_plot(trials).data
    assert ends.name == "at the full budget" and (ends.x, ends.y) == ((7,), (90,))
    assert max(best.y) == 51
    assert layer_effects_plot(trials) == layer_effects_plot(pauses)
    assert rank_layouts(trials) == rank_layouts(pauses)
    assert layer_pairs(trials * 2) == layer_pairs(pauses * 2)
    assert [row[-1] for row in trials_table(trials).rows][:2] == [
        "complete, full budget",
        "complete",
    ]
    assert (
        "6 layouts, 0 of the same layout and seed as another. 1 of them went on from a pause"
        in search_summary(trials, "")
    )
    whole = [trial(str(layout), 0.5, budget=pause.whole()) for layout in all_layouts(4, 2)]
    assert same_budget_trials(whole) == whole, "no pause, and nothing went on"


def test_layer_pairs_have_the_known_interaction(grid):
    joint = {(pair.first, pair.second): pair.interaction for pair in layer_pairs(grid)}
    assert set(joint) == set(combinations(range(6), 2))
    assert joint.pop((0, 1)) == pytest.approx(0.1)
    apart = [value for (first, second), value in joint.items() if not {first, second} & {0, 1}]
    assert max(map(abs, apart)) < 0.03
    table = pairs_table(layer_pairs(grid), ACCURACY)
    assert table.rows[0] == ("0 and 1", "+10.0", "4")
    assert pairs_plot(layer_pairs(grid), ACCURACY).data[0].z[0][0] == pytest.approx(10)


def test_layer_pairs_with_too_few_trials_are_left_out(grid):
    keep = [trial for trial in grid if trial.layout.keep != (0, 1, 2)]
    few = [trial for trial in keep if trial.layout.keep not in ((0, 1, 3), (0, 1, 4))]
    assert (0, 1) in {(pair.first, pair.second) for pair in layer_pairs(keep)}
    assert (0, 1) not in {(pair.first, pair.second) for pair in layer_pairs(few)}
    assert layer_pairs([]) == []


def test_quality_plot_has_the_intervals(comparison):
    dots = {dot.meta: dot for dot in quality_plot(comparison).figure.data}
    assert list(dots) == ["found", "top", "bottom", "full", "scratch"]
    row, dot = comparison.row("top"), dots["top"]
    assert dot.x[0] == pytest.approx(70)
    assert dot.x[0] + dot.error_x.array[0] == pytest.approx(100 * row.test_high)
    assert dot.x[0] - dot.error_x.arrayminus[0] == pytest.approx(100 * row.test_low)


def test_differences_plot_leaves_out_the_reference_and_names_findings(
    entrant, split, conditions, tmp_path
):
    entrants = [
        entrant("found", "4:0,2", range(10), 0.7),
        entrant("top", "4:0-1", (), 0.8),
        entrant("bottom", "4:2-3", (1,), 0.6),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    dots = {dot.meta: dot for dot in differences_plot(comparison).figure.data}
    assert {name: dot.text[0] for name, dot in dots.items()} == {
        "found": "−100.0 worse",
        "bottom": "−10.0",
    }
    assert dots["found"].marker.color != dots["bottom"].marker.color
    figure = differences_plot(comparison).figure
    assert [label.text for label in figure.layout.annotations] == ["−100.0 worse", "−10.0"]


def test_importances_plot_is_in_per_cent():
    [bars] = importances_plot({"layer 0": 0.25, "layer 1": 0.75}).data
    assert (bars.x, bars.y) == (("0", "1"), (25, 75))


@given(st.text(max_size=60))
def test_short_label_is_text_to_plotly(text):
    shown = short_label(text)
    assert "<" not in shown
    assert "&" not in shown.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "")
    assert len(short_label("x" * 99)) == MAX_LABEL
    shown.encode()


def test_layout_svg_has_a_bar_for_each_layer():
    drawn = layout_svg(Layout.parse("12:0-3,8,11"))
    kept, removed = re.findall(r' d="(.*?)"', drawn)
    assert (kept.count("M"), removed.count("M")) == (6, 6)
    assert (kept[:5], removed[:5]) == ("M0 0h", "M40 6")
    assert 'width="118"' in drawn
    assert 'aria-label="keeps layers 0-3,8,11 of 12"' in drawn


def test_colors_contrast_with_the_surface():
    from autoprune.reporting import plot_style

    light = {name: getattr(plot_style, name) for name in ("INK", "MUTED", "TEAL", "OCHRE", "SLATE")}
    for name, colour in light.items():
        assert contrast(colour, plot_style.SURFACE) >= 4.5, name
        assert contrast(DARK[colour], DARK[plot_style.SURFACE]) >= 4.5, name
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
