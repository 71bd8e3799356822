"""Frozen features: how well each layout of the encoder, as it came, tells the labels apart."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.oneshot import some
from autoprune.scoring.trie import trie_of, walk
from autoprune.tasks.batching import in_order

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


def fits(bench: Bench, layouts: Sequence[Layout], seed: int, most: int, fit: Fit) -> list[float]:
    """Return `fit` for each layout, on the means over tokens of at most `most` train rows."""
    model = bench.untrained(Layout.full(layouts[0].depth), seed).eval()
    rows = some(bench.rows, most, seed)
    means = np.empty((len(layouts), len(rows), model.config.hidden_size), dtype=np.float32)
    root = trie_of(layouts)
    for index in in_order(rows.lengths, bench.budget.batch):
        lengths = torch.from_numpy(rows.lengths[index]).to(bench.device)
        for visit in walk(model, root, rows, index, bench.device):
            tokens = torch.arange(visit.state.shape[1], device=bench.device)
            inside = (tokens < lengths[:, None]).unsqueeze(-1)  # (rows, longest, 1)
            sums = (visit.state.float() * inside).sum(1)  # -> (rows, hidden)
            means[visit.number, index] = (sums / lengths[:, None]).cpu().numpy()
    targets = np.eye(int(rows.labels.max()) + 1)[rows.labels]
    targets -= targets.mean(axis=0)
    centred = (each.astype(np.float64) - each.mean(axis=0) for each in means)
    return [fit(features, targets) for features in centred]
