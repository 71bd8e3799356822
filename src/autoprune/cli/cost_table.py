"""What models cost, as a table that fits the console, or as one JSON object."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoprune.encoders.profiling import MedianInterval
from autoprune.evaluation.records import installed_versions
from autoprune.experiment.cost import CostResult
from autoprune.experiment.tables import PIPE_WIDTH, print_line
from autoprune.export.cost import CostMeasurement

_MISSING = "–"

_MODEL = "model"

# Columns that go first where a console is too narrow.
_SPARED = ("GFLOP a text", "embeddings", "parameters", "disk", "memory", "layers")


def print_costs(measured: CostResult) -> None:
    """Print the table, what it means, and the alarms, on standard output."""
    columns = _columns(measured.costs)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(PIPE_WIDTH, _width(columns)))
    under = measured.under
    print_line(
        f"Batches of {under.batch}, texts of at most {under.tokens} tokens, "
        f"{under.machine}; medians and 95 % intervals of {under.rounds} rounds in turn. "
        f"gain: times the throughput of {measured.costs[0].name}; memory: the most it takes to "
        "load the model and run a batch."
    )
    shown = fitting(columns, console.width)
    table = Table(box=box.SIMPLE, padding=(0, int(_width(shown) <= console.width)))
    for heading in shown:
        table.add_column(heading, justify="left" if heading == _MODEL else "right", no_wrap=True)
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*map(Text, cells))
    console.print(table)
    for line in (*measured.alarms, *measured.notes):
        print_line(line)


def fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Return the columns that `width` cells have room for; the essential ones stay."""
    shown = dict(columns)
    for heading in _SPARED:
        if _width(shown, padding=0) > width:
            del shown[heading]
    return shown


def as_json(measured: CostResult) -> str:
    """Return all that was measured as one JSON object; seconds, bytes, texts a second."""
    under = measured.under
    return json.dumps(
        {
            "target": measured.target,
            "date": time.strftime("%Y-%m-%d"),
            "device": under.machine,
            "threads": measured.threads,
            "batch": under.batch,
            "rounds": under.rounds,
            "tokens": under.tokens,
            "versions": installed_versions(),
            "models": [asdict(cost) for cost in measured.costs],
            "alarms": measured.alarms,
            "notes": measured.notes,
        }
    )


def _width(columns: dict[str, list[str]], padding: int = 1) -> int:
    """Return how many cells a table takes: its cells, and the space between and around them."""
    cells = [max(map(cell_len, (heading, *texts))) for heading, texts in columns.items()]
    return sum(cells) + 2 * padding * len(cells) + len(cells) + 1


def _columns(costs: Sequence[CostMeasurement]) -> dict[str, list[str]]:
    write: dict[str, Callable[[CostMeasurement], str]] = {
        _MODEL: lambda one: one.name,
        "layers": lambda one: str(one.layers),
        "parameters": lambda one: _millions(one.parameters.total if one.parameters else None),
        "embeddings": lambda one: _millions(one.parameters.embeddings if one.parameters else None),
        "disk": lambda one: f"{one.bytes / 1e6:.1f} MB",
        "memory": lambda one: (
            _MISSING if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f} MB"
        ),
        "ms, one text": lambda one: _median(one.latency, 1000, 2),
        "texts a second": lambda one: _median(one.throughput, 1, 0),
        "gain": lambda one: _median(one.gain, 1, 2),
        "GFLOP a text": lambda one: _MISSING if one.flops is None else f"{one.flops / 1e9:.3g}",
    }
    return {heading: [cell(one) for one in costs] for heading, cell in write.items()}


def _millions(count: int | None) -> str:
    return _MISSING if count is None else f"{count / 1e6:.3g} M"


def _median(value: MedianInterval, unit: int, digits: int) -> str:
    median, low, high = (
        f"{one * unit:,.{digits}f}" for one in (value.median, value.low, value.high)
    )
    return f"{median} ({low}–{high})"
