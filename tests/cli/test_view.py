"""What a person sees: the live view, the time left, and a table that fits the console."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text

from autoprune.cli import tables as table_module
from autoprune.cli.tables import print_comparison
from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.experiment import progress as show_module
from autoprune.experiment.progress import ProgressDisplay, TimeEstimate, format_duration
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES

TOP, MIDDLE = STRATEGIES["top"](12, 6), STRATEGIES["middle"](12, 6)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(show_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def show(clock):
    show = ProgressDisplay()
    show.console = Console(file=io.StringIO(), width=80, highlight=False)
    return show


def seen(show):
    """Return the live view as plain lines."""
    console = Console(file=io.StringIO(), width=80)
    console.print(show._view())
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_time_left_counts_down_between_results(clock):
    pace = TimeEstimate(remaining=10, abreast=1)
    assert pace.left() is None
    clock.now += 6
    pace.ends(measured=True)
    assert pace.left() == 54
    clock.now += 4
    assert pace.left() == 50
    clock.now += 1000
    assert pace.left() == 0


def test_what_was_on_file_tells_nothing_of_the_rest(clock):
    pace = TimeEstimate(remaining=10, abreast=1)
    for _ in range(7):
        pace.ends(measured=False)
    assert pace.left() is None
    clock.now += 6
    pace.ends(measured=True)
    assert pace.left() == 12


def test_runs_side_by_side_end_together(clock):
    pace = TimeEstimate(remaining=9, abreast=4)
    clock.now += 20
    for _ in range(4):
        pace.ends(measured=True)
        assert pace.left() == 40
    clock.now += 20
    pace.ends(measured=True)
    assert pace.left() == 20


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h")]
)
def test_seconds_in_words(seconds, text):
    assert format_duration(seconds) == text


def test_the_live_view(show, clock):
    with show.phase("trial", 3, 16):
        show.recall("top", TOP, 0.5)
        show.started(MIDDLE)
        clock.now += 30
        show.finished("middle", MIDDLE, 0.625, "")
        show.started(Layout(12, (0, 1, 2, 3, 8, 11)))
        clock.now += 12
        assert seen(show) == [
            "               trial 5 of 16",
            "now            ●●●●○○○○●○○●  12 s",
            "best so far    ●●●○○○○○○●●●  62.5 %  middle",
            "on validation  top 50.0 %  middle 62.5 %",
            "time left      5.8 min",
        ]


def test_how_far_a_cheap_score_ranks_as_the_results_do(show):
    layouts = [Layout(12, (0, 1, 2, 3, 4, last)) for last in range(5, 11)]
    with show.phase("trial", 1, 6):
        show.compare_with_proxy(
            "alignment", {layout: place for place, layout in enumerate(layouts)}
        )
        show.recall("top", layouts[0], 0.1)
        for place, layout in enumerate(layouts[1:], 2):
            assert ("alignment" in "".join(seen(show))) == (place > 5)  # four pairs tell nothing
            show.finished("search", layout, place / 10, "")
        assert "alignment      rank correlation +1.00 (+1.00 to +1.00)" in seen(show)
    with show.phase("run", 0, 1):
        show.finished("found", layouts[0], 0.5, "")
        assert "alignment" not in "".join(seen(show))


def test_the_next_phase_begins_anew(show, clock):
    with show.phase("trial", 0, 1):
        show.finished("search", TOP, 0.9, "")
        assert "on validation" not in "".join(seen(show))
    with show.phase("run", 0, 2, 2):
        assert seen(show) == ["           run 1 of 2", "time left  known after the first"]
        show.finished("found", TOP, 0.4, "seed 1")
        show.finished("found", TOP, 0.6, "seed 2")
        assert "best so far    ●●●●●●○○○○○○  50.0 %  found" in seen(show)


def test_lines_stand_in_columns(show):
    with show.phase("run", 0, 12):
        show.finished("full", Layout.full(12), 0.5, "seed 1")
        show.finished("scratch", Layout.full(6), None, "the loss is nan")
    lines = show.console.file.getvalue().splitlines()
    assert [line.index("12:0-11") for line in lines[:1]] == [
        line.index("6:0-5") for line in lines[1:]
    ]
    assert lines[1].endswith("the loss is nan")


def comparison(depth):
    gap = PairedDifference(mean=-0.1234, low=-0.2345, high=0.0456, p_value=0.0000001)
    layouts = {name: rule(depth, depth // 2) for name, rule in STRATEGIES.items()}
    layouts = {"found": layouts["alternate"], **layouts, "full": Layout.full(depth)}
    layouts |= {"scratch": Layout.full(depth // 2), "mahabert-small": Layout.full(depth // 2)}
    rows = tuple(
        ComparisonRow(
            origin=origin,
            layout=layout,
            parameters=237_560_000,
            seeds=3,
            test_mean=0.7123,
            test_std=0.01,
            test_low=0.65,
            test_high=0.77,
            raw_mean=0.7234,
            validation_mean=0.7345,
            macro_f1=0.7,
            seconds=60.0,
            learning_rate=5e-5,
            difference=gap,
        )
        for origin, layout in layouts.items()
    )
    return Comparison(rows, "top", "found", {}, (1, 2, 3), 1000, 1200, "accuracy", (), ())


@pytest.fixture
def printed(monkeypatch, capsys):
    """Return a function that prints the table on a console so wide, or into a pipe."""

    def printed(depth, width=None):
        terminal = {} if width is None else {"force_terminal": True, "width": width}
        monkeypatch.setattr(
            table_module,
            "Console",
            lambda **named: Console(**{**named, **terminal, "no_color": True}),
        )
        print_comparison(comparison(depth))
        return Text.from_ansi(capsys.readouterr().out).plain.splitlines()

    return printed


ESSENTIAL = ["origin", "test", "raw", "difference", "95 % interval", "p"]


@pytest.mark.parametrize(
    ("depth", "width", "more"),
    [
        (12, 80, ["layers"]),
        (24, 80, []),
        (12, 100, ["layers"]),
        (12, 140, ["layers", "layout", "validation", "parameters"]),
        (24, 140, ["layers", "layout", "validation"]),
        (12, 120, ["layers", "layout", "validation", "parameters"]),
        (12, None, ["layers", "layout", "validation", "parameters"]),
        (40, None, ["layers", "layout", "validation", "parameters"]),
    ],
)
def test_the_table_fits_and_nothing_is_cut_off(printed, depth, width, more):
    lines = printed(depth, width)
    text = "\n".join(lines)
    assert "…" not in text
    assert max(map(len, lines)) <= (width or 10_000)
    head = next(line for line in lines if "origin" in line)
    assert [heading for heading in [*ESSENTIAL, *more] if heading not in head] == []
    spare = {"layers", "layout", "validation", "parameters"} - set(more)
    assert [heading for heading in spare if heading in head] == []
    found = next(line for line in lines if "found" in line)
    assert found.index("71.2 %") < found.index("72.3 %")
    assert head.index("test") < head.index("raw")
    for cell in ("71.2 %", "72.3 %", "−12.3", "−23.4 to +4.6", "< 0.0001"):
        assert cell in found
    assert "1000 of 1200" in " ".join(text.split())
    assert (
        next(line for line in lines if line.split()[:1] == ["top"]).rstrip().endswith("reference")
    )


def test_a_run_that_had_more_is_printed_and_not_held_against_the_rest(show):
    with show.phase("trial", 0, 3):
        show.finished("top", TOP, 0.5, "")
        show.finished("search", MIDDLE, 0.9, "went on to the full budget", compared=False)
        assert any("best so far" in line and "50.0 %" in line for line in seen(show))
    assert "90.0 %" in show.console.file.getvalue()
