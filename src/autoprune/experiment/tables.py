"""The final table: as many columns as fit the console, none of them cut off."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from autoprune.evaluation.comparison import Comparison, ComparisonRow
from autoprune.evaluation.verdict import format_p, format_points
from autoprune.experiment.progress import format_percent

PIPE_WIDTH = 140  # a pipe has no width: all columns are written

_LEFT = {"origin", "layers", "layout"}

# Columns that go first, in this order, and how wide a console must be for them.
_ROOM = {"parameters": 120, "validation": 120, "layout": 120, "layers": 0}


def print_comparison(comparison: Comparison) -> None:
    """Print the comparison on standard output, with a line above that says how it is read."""
    columns = _columns(comparison)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(PIPE_WIDTH, _width(columns, padding=1)))
    seeds = len(comparison.seeds)
    print_line(
        f"Means over {seeds} fresh seed{'s' * (seeds > 1)} by {comparison.metric}. test: the "
        f"cleaned test rows ({comparison.test_rows} of {comparison.raw_rows}), raw: all of them; "
        f"difference, interval and p: against {comparison.reference}, on the cleaned rows."
    )
    console.print(_table(fit_columns(columns, console.width), console.width))


def print_line(line: str) -> None:
    """Print one line on standard output; a console breaks it between words."""
    console = Console(highlight=False)
    console.print(Text(line), soft_wrap=not console.is_terminal)


def _table(columns: dict[str, list[str]], width: int) -> Table:
    padding = int(_width(columns, padding=1) <= width)
    table = Table(box=box.SIMPLE, padding=(0, padding))
    for heading in columns:
        justify: JustifyMethod = "left" if heading in _LEFT else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


def fit_columns(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Return the columns that a console of `width` cells has room for; the essential ones stay."""
    shown = dict(columns)
    for heading, least in _ROOM.items():
        if width < least or _width(shown, padding=0) > width:
            del shown[heading]
    return shown


def _width(columns: dict[str, list[str]], padding: int) -> int:
    """Return how many cells a table takes: its cells, and a space between and around columns."""
    cells = [max(map(cell_len, (heading, *texts))) for heading, texts in columns.items()]
    return sum(cells) + 2 * padding * len(cells) + len(cells) + 1


def _columns(comparison: Comparison) -> dict[str, list[str]]:
    rows = comparison.rows
    return {
        "origin": [row.origin for row in rows],
        "layers": [row.layout.picture for row in rows],
        "layout": [str(row.layout) for row in rows],
        "test": [format_percent(row.test_mean) for row in rows],
        "raw": [format_percent(row.raw_mean) for row in rows],
        "validation": [format_percent(row.validation_mean) for row in rows],
        "parameters": [_millions(row.parameters) for row in rows],
        **_differences(rows, comparison.reference),
    }


def _differences(rows: Sequence[ComparisonRow], reference: str) -> dict[str, list[str]]:
    gaps = [None if row.origin == reference else row.difference for row in rows]
    return {
        "difference": [format_points(gap.mean) if gap else "reference" for gap in gaps],
        "95 % interval": [
            f"{format_points(gap.low)} to {format_points(gap.high)}" if gap else "" for gap in gaps
        ],
        "p": [format_p(gap.p_value) if gap else "" for gap in gaps],
    }


def _millions(count: int) -> str:
    """Write a count of parameters, in millions with three digits."""
    return f"{count / 1e6:.3g} M"
