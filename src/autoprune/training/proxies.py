"""Cheap scores: what a layout may be worth, before any layout is trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import length_sorted_batches
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.one_shot import build_trie, sample_rows, score_all, walk_trie

Features = NDArray[np.float64]  # (rows, hidden), centred

Targets = NDArray[np.float64]  # (rows, classes), one-hot, centred

Fit = Callable[[Features, Targets], float]


def alignment(features: Features, targets: Targets) -> float:
    """Return the linear centred kernel alignment of features and labels, in [0, 1].

    0 where all rows are alike.

    Kornblith et al. 2019, https://arxiv.org/abs/1905.00414.
    """
    shared = np.linalg.norm(features.T @ targets) ** 2
    own = np.linalg.norm(features.T @ features) * np.linalg.norm(targets.T @ targets)
    return float(shared / own) if own else 0.0


def ridge_fits(
    bench: LayoutEvaluator, layouts: Sequence[Layout], seed: int, most: int, fit: Fit
) -> list[float]:
    """Return `fit` for each layout, on the means over tokens of at most `most` train rows."""
    model = bench.untrained(Layout.full(layouts[0].depth), seed).eval()
    rows = sample_rows(bench.rows, most, seed)
    means = np.empty((len(layouts), len(rows), model.config.hidden_size), dtype=np.float32)
    root = build_trie(layouts)
    for index in length_sorted_batches(rows.lengths, bench.budget.batch):
        lengths = torch.from_numpy(rows.lengths[index]).to(bench.device)
        for visit in walk_trie(model, root, rows, index, bench.device):
            tokens = torch.arange(visit.state.shape[1], device=bench.device)
            inside = (tokens < lengths[:, None]).unsqueeze(-1)  # (rows, longest, 1)
            sums = (visit.state.float() * inside).sum(1)  # -> (rows, hidden)
            means[visit.number, index] = (sums / lengths[:, None]).cpu().numpy()
    targets = np.eye(int(rows.labels.max()) + 1)[rows.labels]
    targets -= targets.mean(axis=0)
    centred = (each.astype(np.float64) - each.mean(axis=0) for each in means)
    return [fit(features, targets) for features in centred]


Proxy = Callable[[LayoutEvaluator, Sequence[Layout], int], list[float]]
"""From bench, layouts and seed to a value for each layout, higher is better; see `PROXIES`."""

PROXY_ROWS = 512  # validation rows for layouts in their tens

MIN_PROXY_ROWS = (
    192  # train rows for layouts in their hundreds: with 924 layouts, a row costs 143 passes
)


def leave_one_out(bench: LayoutEvaluator, layouts: Sequence[Layout], seed: int) -> list[float]:
    """Sum up, over the removed layers, how the fine-tuned full model's loss rises without each."""
    depth = layouts[0].depth
    full = Layout.full(depth)
    removed = sorted({layer for layout in layouts for layer in set(full.keep) - set(layout.keep)})
    without = [Layout(depth, tuple(set(full.keep) - {layer})) for layer in removed]
    model = bench.train(full, seed).model.eval()
    rows = sample_rows(bench.validation, PROXY_ROWS, seed)
    whole, *others = score_all(
        model, [full, *without], rows, bench.budget.batch, bench.device
    ).scores
    rises = np.zeros(depth)
    rises[removed] = [other.loss - whole.loss for other in others]
    return [-float(rises.sum() - rises[list(layout.keep)].sum()) for layout in layouts]


def aligned(bench: LayoutEvaluator, layouts: Sequence[Layout], seed: int) -> list[float]:
    """Measure how far rows alike in the untrained layout's features are alike in their labels."""
    return ridge_fits(bench, layouts, seed, MIN_PROXY_ROWS, alignment)


# Higher is better. Each earned its cost; what did not is told in studies/README.md.
PROXIES: dict[str, Proxy] = {
    "alignment": aligned,
    "leave-one-out": leave_one_out,
}
