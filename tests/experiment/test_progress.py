"""Progress: the live view, the lines of results, and the time left."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from autoprune.experiment import progress as progress_module
from autoprune.experiment.inputs import EncodedSplits
from autoprune.experiment.progress import (
    ProgressDisplay,
    TimeEstimate,
    _describe_cleaning,
    format_duration,
)
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.task import CleaningReport
from autoprune.training.budget import Budget

TOP, MIDDLE = STRATEGIES["top"](12, 6), STRATEGIES["middle"](12, 6)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def display(clock):
    display = ProgressDisplay()
    display.console = Console(file=io.StringIO(), width=80, highlight=False)
    return display


def view_lines(display):
    """Return the live view as plain lines."""
    console = Console(file=io.StringIO(), width=80)
    console.print(display._view())
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_time_estimate_counts_down_between_results(clock):
    estimate = TimeEstimate(remaining=10, parallel=1)
    assert estimate.left() is None
    clock.now += 6
    estimate.ends(measured=True)
    assert estimate.left() == 54
    clock.now += 4
    assert estimate.left() == 50
    clock.now += 1000
    assert estimate.left() == 0


def test_time_estimate_ignores_results_on_file(clock):
    estimate = TimeEstimate(remaining=10, parallel=1)
    for _ in range(7):
        estimate.ends(measured=False)
    assert estimate.left() is None
    clock.now += 6
    estimate.ends(measured=True)
    assert estimate.left() == 12


def test_time_estimate_counts_rounds_of_parallel_runs(clock):
    estimate = TimeEstimate(remaining=9, parallel=4)
    clock.now += 20
    for _ in range(4):
        estimate.ends(measured=True)
        assert estimate.left() == 40
    clock.now += 20
    estimate.ends(measured=True)
    assert estimate.left() == 20


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h")]
)
def test_duration_is_written_in_a_fitting_unit(seconds, text):
    assert format_duration(seconds) == text


def test_progress_shows_the_live_view(display, clock):
    with display.phase("trial", 3, 16):
        display.recall("top", TOP, 0.5)
        display.started(MIDDLE)
        clock.now += 30
        display.finished("middle", MIDDLE, 0.625, "")
        display.started(Layout(12, (0, 1, 2, 3, 8, 11)))
        clock.now += 12
        assert view_lines(display) == [
            f"search         {'━' * 6:24}  4 of 16",
            "now            ●●●●○○○○●○○●  12 s",
            "best so far    ●●●○○○○○○●●●  62.5 %  middle",
            "on validation  top 50.0 %  middle 62.5 %",
            "time left      5.8 min",
        ]


def test_progress_shows_the_rank_correlation_with_a_proxy(display):
    layouts = [Layout(12, (0, 1, 2, 3, 4, last)) for last in range(5, 11)]
    with display.phase("trial", 1, 6):
        display.compare_with_proxy(
            "alignment", {layout: place for place, layout in enumerate(layouts)}
        )
        display.recall("top", layouts[0], 0.1)
        for place, layout in enumerate(layouts[1:], 2):
            assert ("alignment" in "".join(view_lines(display))) == (
                place > 5
            )  # four pairs tell nothing
            display.finished("search", layout, place / 10, "")
        assert "alignment      rank correlation +1.00 (+1.00 to +1.00)" in view_lines(display)
    with display.phase("run", 0, 1):
        display.finished("found", layouts[0], 0.5, "")
        assert "alignment" not in "".join(view_lines(display))


def test_progress_of_the_next_phase_starts_anew(display, clock):
    with display.phase("trial", 0, 1):
        display.finished("search", TOP, 0.9, "")
        assert "on validation" not in "".join(view_lines(display))
    with display.phase("run", 0, 2, 2):
        assert view_lines(display) == [
            f"comparison  {'':24}  0 of 2",
            "time left   known after the first",
        ]
        display.finished("found", TOP, 0.4, "seed 1")
        display.finished("found", TOP, 0.6, "seed 2")
        assert "best so far    ●●●●●●○○○○○○  50.0 %  found" in view_lines(display)


@pytest.mark.parametrize(
    ("metric", "line", "best"), [("mcc", "-112.3 %", "-62.5 %"), ("mse", "  1.123", "0.625")]
)
def test_progress_shows_a_quality_as_its_metric_says(display, metric, line, best):
    with display.phase("run", 0, 12, 1, metric):
        display.finished("full", Layout.full(12), -1.1234, "seed 1")
        display.finished("top", TOP, -0.625, "seed 1")
        [shown] = [text for text in view_lines(display) if text.startswith("best so far")]
    assert shown == f"best so far    {TOP.picture}  {best}  top"
    assert f"  {line}  full" in display.console.file.getvalue()


def test_progress_lines_are_aligned(display):
    with display.phase("run", 0, 12):
        display.finished("full", Layout.full(12), 0.5, "seed 1")
        display.finished("scratch", Layout.full(6), None, "the loss is nan")
    lines = display.console.file.getvalue().splitlines()
    assert [line.index("12:0-11") for line in lines[:1]] == [
        line.index("6:0-5") for line in lines[1:]
    ]
    assert lines[1].endswith("the loss is nan")


def test_progress_prints_a_promoted_run_without_comparing_it(display):
    with display.phase("trial", 0, 3):
        display.finished("top", TOP, 0.5, "")
        display.finished("search", MIDDLE, 0.9, "went on to the full budget", compared=False)
        assert any("best so far" in line and "50.0 %" in line for line in view_lines(display))
    assert "90.0 %" in display.console.file.getvalue()


def test_progress_counts_the_runs_that_are_still_expected(display, clock):
    with display.phase("run", 0, 6):
        display.finished("found", TOP, 0.5, "seed 1")
        display.expect(4)
        display.finished("top", TOP, 0.5, "seed 1")
        assert display._estimate.remaining == 2
    lines = display.console.file.getvalue().splitlines()
    assert [line[:9] for line in lines] == ["run   1/6", "run   2/4"]


def test_progress_has_one_time_left_for_the_whole_study(display, clock):
    display.expect_time({"trial": (4, 40.0), "run": (12, 600.0)})
    with display.phase("trial", 0, 4):
        lines = view_lines(display)
        assert lines[1] == f"comparison  {'':24}  0 of 12"
        assert lines[-1] == "time left   at most 10.7 min in all, 40 s of them for the search"
        clock.now += 20  # twice as slow as expected, and so will the comparison be
        display.finished("top", TOP, 0.5, "")
        assert view_lines(display)[-1].endswith(
            "at most 21.0 min in all, 60 s of them for the search"
        )
    with display.phase("run", 0, 12):
        assert "search" not in "".join(view_lines(display))
        assert view_lines(display)[-1] == "time left   5.0 min"


def test_progress_shows_all_layouts_in_training(display):
    with display.phase("trial", 0, 4, 2):
        display.started(TOP)
        display.started(MIDDLE)
        assert [line.split()[1] for line in view_lines(display)[1:3]] == [
            TOP.picture,
            MIDDLE.picture,
        ]
        display.finished("middle", MIDDLE, 0.5, "")
        assert "".join(view_lines(display)).count("now") == 1


def test_progress_colours_scores_by_their_rank(display):
    with display.phase("trial", 0, 4):
        for place, score in enumerate((0.1, 0.5, 0.9)):
            display.finished("search", Layout(12, (place,)), score, "")
        assert [display._score_style(score) for score in (0.1, 0.5, 0.9)] == [
            "red",
            "yellow",
            "green",
        ]


def test_progress_says_which_rows_cleaning_removed():
    clean = CleaningReport("train", 1200, 0, 0, 0, 0, 1200)
    assert _describe_cleaning(clean) == "train: 1,200 rows read, 1,200 left"
    assert _describe_cleaning(CleaningReport("test", 20, 1, 3, 2, 4, 10)) == (
        "test: 20 rows read, 10 left (removed: 1 repeated header, 3 without text or label, "
        "2 duplicates, 4 also in an earlier split)"
    )


def test_a_run_takes_its_steps_and_a_third_of_one_for_each_batch_that_it_predicts():
    inputs = EncodedSplits(range(320), range(96), range(64), None)
    drawn = Budget(steps=30, batch=32, checks=3)
    assert inputs.steps_of_run(drawn, tested=False) == pytest.approx(30 + 3 * 3 / 3)
    fitted = replace(drawn, head="fitted")  # reads the train rows first
    assert inputs.steps_of_run(fitted, tested=True) == pytest.approx(30 + (9 + 10 + 2) / 3)
    paused = replace(drawn, pause_at=10)
    assert inputs.steps_of_run(paused, tested=False) == pytest.approx(10 + 3 / 3)
