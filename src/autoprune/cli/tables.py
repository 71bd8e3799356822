"""Tables on the console: as many columns as fit, none of them cut off."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoprune.terminal import SafeConsole

if TYPE_CHECKING:
    from autoprune.evaluation.comparison import Comparison
    from autoprune.experiment.pareto import ParetoResult
    from autoprune.reporting.tables import Table as ReportTable

PIPE_WIDTH = 140  # cells; a pipe has no width

TableColumns = Mapping[str, list[str]]  # the cells of each column by its heading


def print_columns(
    columns: TableColumns, left: Collection[str], optional: Mapping[str, int]
) -> None:
    """Print a table of the columns that fit the console; a pipe gets all of them.

    Columns in `left` are aligned to the left. Those in `optional` are left out one by one, in their
    order, until the rest fits; each needs a console of at least so many cells.
    """
    console = open_console(max(PIPE_WIDTH, table_width(columns)))
    shown = fit_columns(columns, console.width, optional)
    padding = int(table_width(shown) <= console.width)
    table = Table(box=box.SIMPLE, padding=(0, padding))
    for heading in shown:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*map(Text, cells))
    console.print(table)


def print_table(table: "ReportTable") -> None:
    """Print a table of a report; its caption is the title, and long cells are wrapped."""
    printed = Table(box=box.SIMPLE, padding=(0, 1), title=table.caption, title_justify="left")
    for heading in table.header:
        printed.add_column(heading)
    for row in table.rows:
        printed.add_row(*(Text(cell if isinstance(cell, str) else cell.picture) for cell in row))
    open_console().print(printed)


def open_console(pipe_width: int = PIPE_WIDTH) -> Console:
    """Return a console on standard output; where that is a pipe, of `pipe_width` cells."""
    console = SafeConsole(highlight=False)
    return console if console.is_terminal else SafeConsole(highlight=False, width=pipe_width)


def fit_columns(columns: TableColumns, width: int, optional: Mapping[str, int]) -> TableColumns:
    """Return the columns that fit into `width` cells; see `print_columns`."""
    shown = dict(columns)
    for heading, minimum in optional.items():
        if width < minimum or table_width(shown, padding=0) > width:
            del shown[heading]
    return shown


def table_width(columns: TableColumns, padding: int = 1) -> int:
    """Return how many cells a table takes: its cells, and the space between and around them."""
    cells = [max(map(cell_len, (heading, *texts))) for heading, texts in columns.items()]
    return sum(cells) + 2 * padding * len(cells) + len(cells) + 1


# Columns of a comparison that are left out first, in this order, and the least width they need.
# Validation, by which the recommendation goes, stays.
_OPTIONAL = {"parameters": 120, "layout": 120, "layers": 0, "raw": 0, "seeds": 0}


def print_comparison(comparison: "Comparison") -> None:
    """Print the comparison on standard output, with a line above that says how to read it."""
    from autoprune.evaluation.verdict import describe_disagreements, describe_seeds
    from autoprune.training.metrics import METRICS

    seeds, note = len(comparison.seeds), METRICS[comparison.metric].note
    print_line(
        f"Means over {seeds} fresh seed{'s' * (seeds > 1)} by {comparison.metric}. test: the "
        f"cleaned test rows ({comparison.test_rows} of {comparison.raw_rows}), raw: all of them; "
        f"difference{note}, interval and p: against {comparison.reference}, on the cleaned rows."
    )
    print_columns(comparison_columns(comparison), {"origin", "layers", "layout"}, _OPTIONAL)
    for sentence in (*describe_seeds(comparison), *describe_disagreements(comparison)):
        print_line(sentence)


def print_line(line: str) -> None:
    """Print one line on standard output; a console breaks it between words."""
    console = SafeConsole(highlight=False)
    console.print(Text(line), soft_wrap=not console.is_terminal)


def comparison_columns(comparison: "Comparison") -> dict[str, list[str]]:
    """Return the cells of each column by its heading, as reports have them."""
    from autoprune.reporting.tables import entrants_table

    table = entrants_table(comparison)
    columns = zip(*table.rows, strict=True)
    return {
        heading: [cell if isinstance(cell, str) else cell.picture for cell in column]
        for heading, column in zip(table.header, columns, strict=True)
    }


# Columns of a Pareto front that are in the report only: a console has no room for them.
_NOT_PRINTED = ("layout", "parameters", "interval, ms", "interval, texts a second")


def print_pareto(result: "ParetoResult") -> None:
    """Print the table of a Pareto front, the advice, and where the report is."""
    from autoprune.reporting.pareto_report import PARETO_HEADER, pareto_advice, pareto_table

    table = Table(box=box.SIMPLE, padding=(0, 0))
    shown = [heading for heading in PARETO_HEADER if heading not in _NOT_PRINTED]
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=heading == PARETO_HEADER[0])
    for cells in pareto_table(result.front).rows:
        texts = (cell if isinstance(cell, str) else cell.picture for cell in cells)
        row = dict(zip(PARETO_HEADER, texts, strict=True))
        table.add_row(*(Text(row[heading]) for heading in shown))
    open_console().print(table)
    for sentence in pareto_advice(result.front):
        print_line(sentence)
    print_line(f"Report: {result.report}   page: {result.page}")
