"""The commands models, tasks and layouts: lists of known names, and what strategies keep."""

from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.encoders.registry import ENCODERS
from autoprune.layouts.layout import check_keep, count_layouts
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.registry import TASKS


def models() -> None:
    """List the models known by name; any hub id or local folder serves too.

    Example: `autoprune models`
    """
    for name, encoder in ENCODERS.items():
        options.show(f"{name:16} {encoder.source}")


def tasks() -> None:
    """List the tasks known by name; your own files or a hub data set serve too.

    Example: `autoprune tasks`
    """
    for name, task in TASKS.items():
        options.show(f"{name:16} {task.source:16} up to {task.tokens} tokens, {task.metric}")


def layouts(
    depth: Annotated[int, typer.Option(min=2, max=1000, help="Layers of the full model.")],
    keep: Annotated[int, typer.Option(min=1, max=999, help="Layers that stay.")],
) -> None:
    """Show what each fixed strategy keeps (● stays, ○ goes; the left end is next to the input).

    Example: `autoprune layouts --depth 12 --keep 6`
    """
    check_keep(depth, keep)
    for name, strategy in STRATEGIES.items():
        layout = strategy(depth, keep)
        options.show(f"{name:10} {layout.picture}  {layout}")
    options.show(f"{count_layouts(depth, keep):,} layouts keep {keep} of {depth} layers")
