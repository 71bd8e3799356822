"""The cost command: what a pruned model saves, measured on this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.cli import options
from autoprune.encoders.registry import ENCODERS

if TYPE_CHECKING:
    from autoprune.evaluation.statistics import MedianInterval
    from autoprune.experiment.cost import CostResult
    from autoprune.export.cost import CostMeasurement

_MISSING = "–"

# Columns that are left out, in this order, where a console is too narrow.
OPTIONAL_COLUMNS = ("GFLOP a text", "embeddings", "parameters", "disk", "memory", "layers")


def cost(
    target: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|DIR",
            help="A finished study, or the folder of an exported model.",
            autocompletion=options.complete_studies,
        ),
    ],
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Texts in a batch.")] = 32,
    device: options.DeviceOption = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processor threads. [default: the cores]")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=6, max=10000, help="How often each model is measured, in turns.")
    ] = 15,
    against: Annotated[
        str | None,
        typer.Option(
            help="For a folder: the model to compare it with, by name or folder. "
            "[default: the base model that its card names]",
            autocompletion=options.complete_names(ENCODERS),
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="For a folder: whose texts are measured, as in `search`. [default: those of the "
            "study it comes from, else the demo's]"
        ),
    ] = None,
    text: options.TextColumnOption = None,
    text_pair: options.PairColumnOption = None,
    label: options.LabelColumnOption = None,
    labels: options.LabelColumnsOption = None,
    label_separator: options.LabelSeparatorOption = None,
    data_dir: options.MovedDataOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    json: options.JsonOption = False,
) -> None:
    """Measure size, memory, latency and throughput: full model, pruned model and rivals.

    All are measured in turns on the same texts; medians with 95 % intervals. A warning says where
    the gain is less than 80 % of what the number of layers promises. The costs of a study are
    stored in its folder, and `report` shows them.

    Example: `autoprune cost my-study --batch 1`
    """
    from json import dumps

    from autoprune.api import measure_cost
    from autoprune.experiment.config import DataConfig
    from autoprune.experiment.cost import CostRequest, store_costs

    data = DataConfig(
        text=text,
        text_pair=text_pair,
        label=label,
        labels=options.split_columns(labels),
        label_separator=label_separator,
    )
    request = CostRequest(
        target=target,
        batch=batch,
        device=device,
        threads=threads,
        rounds=rounds,
        against=against,
        task=task,
        columns=data.columns,
        data_dir=data_dir,
        trust_remote_code=trust_remote_code,
    )
    result = measure_cost(target, request=request)
    if json:
        options.show(dumps(result.to_dict()))
    else:
        _print(result)
    store_costs(result)  # last: the figures are shown even where they cannot be written


def _print(result: "CostResult") -> None:
    """Print the table, what it means, and the alarms, on standard output."""
    from autoprune.cli.tables import print_columns, print_line

    conditions = result.conditions
    print_line(
        f"Batches of {conditions.batch}, texts of at most {conditions.tokens} tokens, "
        f"{result.machine}; medians and 95 % intervals of {conditions.rounds} rounds in turn. "
        f"gain: times the throughput of {result.costs[0].name}; memory: the most it takes to "
        "load the model and run a batch."
    )
    print_columns(_columns(result.costs), {"model"}, dict.fromkeys(OPTIONAL_COLUMNS, 0))
    for line in (*result.alarms, *result.notes):
        print_line(line)


def _columns(costs: "Sequence[CostMeasurement]") -> dict[str, list[str]]:
    from autoprune.reporting.tables import format_millions

    rows = [
        {
            "model": cost.name,
            "layers": str(cost.layers),
            "parameters": format_millions(cost.parameters.total) if cost.parameters else _MISSING,
            "embeddings": (
                format_millions(cost.parameters.embeddings) if cost.parameters else _MISSING
            ),
            "disk": f"{cost.bytes / 1e6:.1f} MB",
            "memory": _MISSING if cost.peak_bytes is None else f"{cost.peak_bytes / 1e6:.0f} MB",
            "ms, one text": _interval(cost.latency, 1000, 2),
            "texts a second": _interval(cost.throughput, 1, 0),
            "gain": _interval(cost.gain, 1, 2),
            "GFLOP a text": _MISSING if cost.flops is None else f"{cost.flops / 1e9:.3g}",
        }
        for cost in costs
    ]
    return {heading: [row[heading] for row in rows] for heading in rows[0]}


def _interval(value: "MedianInterval", unit: int, digits: int) -> str:
    median, low, high = (
        f"{number * unit:,.{digits}f}" for number in (value.median, value.low, value.high)
    )
    return f"{median} ({low}–{high})"
