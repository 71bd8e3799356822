"""Cheap scores: what a layout may be worth, before any layout is trained."""

from collections.abc import Callable, Sequence

import numpy as np

from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.features import alignment, fits
from autoprune.scoring.oneshot import score_all, some

Proxy = Callable[[Bench, Sequence[Layout], int], list[float]]
"""From bench, layouts and seed to a value for each layout, higher is better; see `PROXIES`."""

ROWS = 512  # validation rows for layouts in their tens
FEWER = 192  # train rows for layouts in their hundreds: with 924 layouts, a row costs 143 passes


def leave_one_out(bench: Bench, layouts: Sequence[Layout], seed: int) -> list[float]:
    """Sum up, over the removed layers, how the fine-tuned full model's loss rises without each."""
    depth = layouts[0].depth
    full = Layout.full(depth)
    removed = sorted({layer for layout in layouts for layer in set(full.keep) - set(layout.keep)})
    without = [Layout(depth, tuple(set(full.keep) - {layer})) for layer in removed]
    model = bench.train(full, seed).model.eval()
    rows = some(bench.validation, ROWS, seed)
    whole, *others = score_all(
        model, [full, *without], rows, bench.budget.batch, bench.device
    ).scores
    rises = np.zeros(depth)
    rises[removed] = [other.loss - whole.loss for other in others]
    return [-float(rises.sum() - rises[list(layout.keep)].sum()) for layout in layouts]


def aligned(bench: Bench, layouts: Sequence[Layout], seed: int) -> list[float]:
    """Measure how far rows alike in the untrained layout's features are alike in their labels."""
    return fits(bench, layouts, seed, FEWER, alignment)


# Higher is better. Each earned its cost; what did not is told in studies/README.md.
PROXIES: dict[str, Proxy] = {
    "alignment": aligned,
    "leave-one-out": leave_one_out,
}
