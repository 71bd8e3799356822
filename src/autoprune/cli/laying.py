"""Laying the ground: all that the user asked for is checked, cheapest first, and loaded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from autoprune.cli.ground import Ground, inputs_of
from autoprune.encoders.encoder import Encoder
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import check_runs, load_classifier
from autoprune.encoders.registry import find as find_encoder
from autoprune.encoders.registry import rivals_of
from autoprune.encoders.shape import longest_input, width_of
from autoprune.encoders.surgery import check_layout
from autoprune.errors import LayoutError, OptionError, check_names
from autoprune.layouts.layout import Layout, check_keep
from autoprune.layouts.strategies import STRATEGIES, layouts_of
from autoprune.scoring.budget import Budget
from autoprune.scoring.crew import cores, workers_for
from autoprune.scoring.devices import pick
from autoprune.scoring.names import METRIC_NAMES
from autoprune.scoring.rates import default_rate
from autoprune.tasks.held_out import read_test
from autoprune.tasks.reading import read
from autoprune.tasks.registry import find as find_task
from autoprune.tasks.task import Columns

PATIENCE = 3  # checks without a better validation quality before a full run stops


def lay(*, keep: int, **asked: Any) -> Ground:
    """Lay the ground for one number of layers to keep; see `lay_each`."""
    return lay_each(keeps=[keep], **asked)[0]


def lay_each(
    *,
    model: str,
    task: str,
    keeps: Sequence[int],
    strategies: Sequence[str] | None,
    rivals: Sequence[str],
    columns: Columns,
    metric: str | None,
    data_dir: Path | None,
    keep_duplicates: bool,
    seed: int,
    device: str,
    method: str,
    epochs: int,
    full_epochs: int | None,
    batch: int,
    parts: int,
    tokens: int | None,
    learning_rate: float | None,
    workers: int | None,
    trust_remote_code: bool,
    promote: bool = False,
    learning_rates: Sequence[float] = (),
    rivals_at: Mapping[int, Sequence[str]] | None = None,
) -> list[Ground]:
    """Check all that the user asked for, cheapest first, then load it; raises `AutopruneError`.

    Returns a ground for each of `keeps`; they share the rows and the checkpoints.
    Without `strategies`, all are compared that the model's family can have. `rivals_at` names
    further rivals for one number of layers; `learning_rates` are as in `Ground.rates`. With
    `promote`, a trial is a full run that pauses after `epochs`. Sets how many threads torch uses
    in this process.
    """
    encoder, chosen = find_encoder(model), find_task(task, columns)
    check_names("strategy", strategies or (), STRATEGIES)
    if metric is not None:
        check_names("metric", [metric], METRIC_NAMES)
        chosen = replace(chosen, metric=metric)
    where = pick(device)
    own = {keep: [*rivals, *(rivals_at or {}).get(keep, ())] for keep in keeps}
    opponents = [
        _opponents([*rivals_of(encoder, keep), *map(find_encoder, own[keep])]) for keep in keeps
    ]
    splits = read(chosen, data_dir, keep_duplicates, seed)
    test = read_test(chosen, data_dir, keep_duplicates, seed)
    checkpoint = fetch(encoder, trust_remote_code)
    for keep in keeps:
        check_keep(checkpoint.depth, keep)
    fetched = {
        opponent: fetch(opponent, trust_remote_code) for each in opponents for opponent in each
    }
    for rival in fetched.values():  # weights that cannot be loaded are refused before work
        check_runs(rival, load_classifier(rival, splits.names, seed))
    whole = load_classifier(checkpoint, splits.names, seed)
    check_runs(checkpoint, whole)
    width = width_of(checkpoint)
    epoch = math.ceil(len(splits.train) / batch)
    quick = Budget(
        steps=epochs * epoch,
        batch=batch,
        tokens=longest_input(checkpoint, tokens or chosen.tokens),
        learning_rate=learning_rate or default_rate(width, method),
        checks=epochs,
        method=method,
        parts=parts,
    )
    passes = full_epochs or chosen.full_epochs
    full = replace(quick, steps=passes * epoch, checks=passes)
    if promote:
        if epochs >= passes:
            raise OptionError(
                f"--promote takes fewer --epochs than the {passes} passes of the full budget, got "
                f"{epochs}"
            )
        quick = replace(full, until=quick.steps)
    workers = workers or workers_for(width, where)
    torch.set_num_threads(max(1, cores() // workers))
    inputs = inputs_of(checkpoint, splits, test, quick.tokens)
    grounds = []
    for keep, theirs in zip(keeps, opponents, strict=True):
        named, left_out = _named(whole, strategies, keep)
        grounds.append(
            Ground(
                checkpoint=checkpoint,
                rivals=tuple(fetched[opponent] for opponent in theirs),
                task=chosen,
                splits=splits,
                test=test,
                inputs=inputs,
                keep=keep,
                strategies=named,
                left_out=left_out,
                tokens=tokens or chosen.tokens,
                quick=quick,
                full=replace(full, patience=PATIENCE),
                rates=tuple(learning_rates),
                device=where,
                workers=workers,
            )
        )
    return grounds


def _named(
    whole: PreTrainedModel, strategies: Sequence[str] | None, keep: int
) -> tuple[dict[str, Layout], tuple[str, ...]]:
    """Return the strategies' layouts, and which of them the family cannot have.

    One of those that the user named is refused.
    """
    named = layouts_of(list(strategies or STRATEGIES), whole.config.num_hidden_layers, keep)
    left_out = tuple(name for name in named if not _can_have(whole, named[name]))
    for name in left_out if strategies else ():
        check_layout(whole, named[name])
    return {name: named[name] for name in named if name not in left_out}, left_out


def _can_have(model: PreTrainedModel, layout: Layout) -> bool:
    try:
        check_layout(model, layout)
    except LayoutError:
        return False
    return True


def _opponents(rivals: Sequence[Encoder]) -> list[Encoder]:
    """Return the rivals, each once; refuse one that goes by the name of another entrant."""
    once = list({(rival.source, rival.revision): rival for rival in rivals}.values())
    taken = {"found", "full", "scratch", *STRATEGIES}
    for rival in once:
        if rival.name in taken:
            raise OptionError(
                f"a rival needs a name of its own in the table, {rival.name!r} ({rival.source}) is "
                "taken: rename its folder"
            )
        taken.add(rival.name)
    return once
