"""The cost command: what a pruned model saves, measured on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.cli.options import completes
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import OptionError


def cost(
    target: Annotated[
        str, typer.Argument(help="A finished study, or the folder of an exported model.")
    ],
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Texts that go together.")] = 32,
    device: options.Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="[default: the cores]", show_default=False),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=6, max=10000, help="Times that each model is measured, by turns.")
    ] = 15,
    against: Annotated[
        str | None,
        typer.Option(
            help="For a folder: the model to compare it with, by name or folder. "
            "[default: the base model that its card names]",
            autocompletion=completes(ENCODERS),
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="For a folder: whose texts are measured, as in `search`. [default: the demo's]",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the task's data lie now, if moved.", show_default=False),
    ] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Measure size, memory, latency and throughput: full model, pruned model and rivals.

    All take turns on the same texts; medians with 95 % intervals. A gain of less than 80 % of what
    the number of layers promises is said in words. What is measured of a study is kept beside it,
    and `report` shows it.

    Example: `autoprune cost my-study --batch 1`
    """
    from autoprune.cli.cost_table import as_json, print_costs
    from autoprune.experiment.cost import CostRequest, measure_requested_costs, store_costs

    wanted = CostRequest(target, batch, device, threads, rounds, trust_remote_code)
    if data_dir is not None and not data_dir.is_dir():
        raise OptionError(f"--data-dir must be a folder, {data_dir} is none")
    measured = measure_requested_costs(wanted, against, task, data_dir)
    if json:
        typer.echo(as_json(measured))
    else:
        print_costs(measured)
    store_costs(measured)  # after they are shown: a folder that cannot be written spoils nothing
