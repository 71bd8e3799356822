"""Tables on the console: they fit, and nothing is cut off."""

import pytest
from rich.text import Text

from autoprune.cli import tables as table_module
from autoprune.cli.results import next_commands
from autoprune.cli.tables import print_comparison
from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.entrants import SeedSchedule
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.terminal import SafeConsole


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
    seeds, runs = (1, 2, 3), {row.origin: row.seeds for row in rows}
    schedule = SeedSchedule(seeds)
    return Comparison(
        rows, "top", "found", {}, seeds, 1000, 1200, "accuracy", (), (), schedule, runs
    )


@pytest.fixture
def printed(monkeypatch, capsys):
    """Return a function that prints the table on a console so wide, or into a pipe."""

    def printed(depth, width=None):
        terminal = {} if width is None else {"force_terminal": True, "width": width}
        monkeypatch.setattr(
            table_module,
            "SafeConsole",
            lambda **named: SafeConsole(**{**named, **terminal, "no_color": True}),
        )
        print_comparison(comparison(depth))
        return Text.from_ansi(capsys.readouterr().out).plain.splitlines()

    return printed


ESSENTIAL = ["origin", "test", "validation", "difference", "95 % interval", "p"]


@pytest.mark.parametrize(
    ("depth", "width", "more"),
    [
        (12, 80, ["raw"]),
        (24, 80, ["raw"]),
        (12, 100, ["layers", "raw"]),
        (12, 110, ["layers", "raw"]),
        (12, 140, ["layers", "layout", "raw", "parameters"]),
        (24, 140, ["layers", "layout", "raw"]),
        (12, 120, ["layers", "layout", "raw", "parameters"]),
        (12, None, ["layers", "layout", "raw", "parameters"]),
        (40, None, ["layers", "layout", "raw", "parameters"]),
    ],
)
def test_comparison_table_fits_the_console(printed, depth, width, more):
    lines = printed(depth, width)
    text = "\n".join(lines)
    assert "…" not in text
    assert max(map(len, lines)) <= (width or 10_000)
    head = next(line for line in lines if "origin" in line)
    assert [heading for heading in [*ESSENTIAL, *more] if heading not in head] == []
    spare = {"layers", "layout", "raw", "parameters"} - set(more)
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


@pytest.mark.parametrize(
    ("learned", "export"), [(True, ["autoprune export 'a b' --out my-model"]), (False, [])]
)
def test_next_commands_export_what_has_learned(learned, export):
    commands = next_commands("a b", learned).removeprefix("Next: ").split("   ")
    assert commands == [
        "autoprune report 'a b' --open",
        *export,
        "autoprune dashboard 'a b'",
    ]


def test_next_commands_of_a_baseline_beside_a_search_name_its_layout():
    commands = next_commands("s", learned=True, layout="12:0-5").removeprefix("Next: ")
    assert commands.split("   ") == [
        "autoprune export s --layout 12:0-5 --out my-model",
        "autoprune dashboard s",
    ]
