"""The final table: as many columns as fit the console, none of them cut off."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoprune.cli.show import percent
from autoprune.evidence.comparison import Comparison, Row
from autoprune.evidence.verdict import p_text, points

PIPE_WIDTH = 140  # a pipe has no width: all columns are written

_LEFT = {"origin", "layers", "layout"}
_DROPPED = ("parameters", "validation", "layout", "layers")  # in this order where it is narrow


def print_table(comparison: Comparison) -> None:
    """Print the comparison on standard output, with a line above that says how it is read."""
    console = Console(highlight=False)
    columns = _columns(comparison)
    width = console.width if console.is_terminal else max(PIPE_WIDTH, _width(columns, 1))
    shown = fitting(columns, width)
    padding = int(_width(shown, 1) <= width)
    table = Table(box=box.SIMPLE, padding=(0, padding))
    for heading in shown:
        side = "left" if heading in _LEFT else "right"
        table.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*map(Text, cells))
    seeds = len(comparison.seeds)
    console.print(
        f"Means over {seeds} fresh seed{'s' * (seeds > 1)} by {comparison.metric}. test: the "
        f"cleaned test rows ({comparison.test_rows} of {comparison.raw_rows}), raw: all of them; "
        f"difference, interval and p: against {comparison.reference}, on the cleaned rows.",
        soft_wrap=not console.is_terminal,
    )
    console.print(table, width=width)


def fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Return the columns that `width` cells have room for; the least telling ones go first."""
    shown = dict(columns)
    for heading in _DROPPED:
        if _width(shown, 0) <= width:
            break
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
        "test": [percent(row.test_mean) for row in rows],
        "raw": [percent(row.raw_mean) for row in rows],
        "validation": [percent(row.validation_mean) for row in rows],
        "parameters": [_millions(row.parameters) for row in rows],
        **_differences(rows, comparison.reference),
    }


def _differences(rows: Sequence[Row], reference: str) -> dict[str, list[str]]:
    gaps = [None if row.origin == reference else row.difference for row in rows]
    return {
        "difference": [points(gap.mean) if gap else "reference" for gap in gaps],
        "95 % interval": [
            f"{points(gap.low)} to {points(gap.high)}" if gap else "" for gap in gaps
        ],
        "p": [p_text(gap.p_value) if gap else "" for gap in gaps],
    }


def _millions(count: int) -> str:
    """Write a count of parameters, in millions with three digits."""
    return f"{count / 1e6:.3g} M"
