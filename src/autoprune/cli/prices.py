"""Prices: what the layouts of several studies of one model cost, measured in one run."""

from collections.abc import Sequence

import torch

from autoprune.artifacts.costing import Conditions, Cost, costs
from autoprune.cli.saving import saved
from autoprune.cli.studying import Done
from autoprune.evidence.front import Price
from autoprune.layouts.layout import Layout
from autoprune.scoring.crew import cores

BATCH = 32  # texts that go together where throughput is measured
_ROUNDS = 15


def prices_of(done: Sequence[Done]) -> list[Price]:
    """Measure the layout that each study recommends, and the full model last, by turns.

    On all cores; sets how many threads torch uses in this process. Raises `OptionError` where the
    models do not fit on the disk or into memory.
    """
    ground = done[0].ground
    layouts = {
        f"keep {one.ground.keep}": one.comparison.row(one.comparison.recommended).layout
        for one in done
    }
    layouts["full"] = Layout.full(ground.checkpoint.depth)
    torch.set_num_threads(cores())
    under = Conditions(BATCH, _ROUNDS, ground.device, ground.tokens)
    with saved(ground, layouts) as subjects:
        return [_price(cost) for cost in costs(subjects, ground.splits.train, under)]


def _price(cost: Cost) -> Price:
    assert cost.parameters is not None, "they are torch models"
    return Price(
        parameters=cost.parameters.total,
        megabytes=cost.bytes / 1e6,
        latency_ms=1000 * cost.latency.median,
        per_second=cost.throughput.median,
    )
