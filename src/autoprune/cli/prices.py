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
ROUNDS = 15


def prices_of(done: Sequence[Done]) -> tuple[list[Price], str]:
    """Measure the layout that each study recommends, and the full model last, by turns.

    Returns the prices and the machine in words. On all cores: sets how many threads torch uses in
    this process. Raises `OptionError` where the disk has no room for the models.
    """
    ground = done[0].ground
    layouts = {
        f"keep {one.ground.keep}": one.comparison.row(one.comparison.recommended).layout
        for one in done
    }
    layouts["full"] = Layout.full(ground.checkpoint.depth)
    torch.set_num_threads(cores())
    under = Conditions(BATCH, ROUNDS, ground.device, ground.tokens, memory=False)
    with saved(ground, layouts) as subjects:
        found = costs(subjects, ground.splits.train, under)
    return [_price(cost) for cost in found], under.machine


def _price(cost: Cost) -> Price:
    assert cost.parameters is not None, "they are torch models"
    return Price(
        parameters=cost.parameters.total,
        megabytes=cost.bytes / 1e6,
        latency_ms=1000 * cost.latency.median,
        latency_low_ms=1000 * cost.latency.low,
        latency_high_ms=1000 * cost.latency.high,
        per_second=cost.throughput.median,
        per_second_low=cost.throughput.low,
        per_second_high=cost.throughput.high,
    )
