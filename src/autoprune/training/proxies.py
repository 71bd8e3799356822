"""Proxies: cheap scores of layouts, before any layout is trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.one_shot import build_trie, sample_rows, score_all, walk_trie

Proxy = Callable[[LayoutEvaluator, Sequence[Layout], int], list[float]]
"""From evaluator, layouts and seed to a score for each layout, greater is better."""

PROXY_ROWS = 512  # validation rows, for tens of layouts

MIN_PROXY_ROWS = 192  # train rows, for hundreds: with 924 layouts, a row costs 143 full passes

MEANS_BYTES = 500_000_000
"""How much memory the features of layouts scored at once may take."""


def leave_one_out(evaluator: LayoutEvaluator, layouts: Sequence[Layout], seed: int) -> list[float]:
    """Return minus the sum, over removed layers, of the loss increase when each is removed alone.

    The losses are those of the fine-tuned full model on validation rows.
    """
    depth = layouts[0].depth
    full = Layout.full(depth)
    removed = sorted({layer for layout in layouts for layer in set(full.keep) - set(layout.keep)})
    without = [Layout(depth, tuple(set(full.keep) - {layer})) for layer in removed]
    model = evaluator.train(full, seed).model.eval()
    split = sample_rows(evaluator.validation, PROXY_ROWS, seed)
    whole, *others = score_all(
        model,
        [full, *without],
        split,
        evaluator.budget.batch,
        evaluator.device,
        evaluator.problem_type,
    ).scores
    increases = np.zeros(depth)
    increases[removed] = [other.loss - whole.loss for other in others]
    return [-float(increases.sum() - increases[list(layout.keep)].sum()) for layout in layouts]


def label_alignment(
    evaluator: LayoutEvaluator, layouts: Sequence[Layout], seed: int
) -> list[float]:
    """Return how well similarity in the untrained layout's features agrees with equal labels.

    The features are the means over tokens, of at most `MIN_PROXY_ROWS` train rows.
    """
    model = evaluator.untrained(Layout.full(layouts[0].depth), seed).eval()
    split = sample_rows(evaluator.rows, MIN_PROXY_ROWS, seed)
    targets = _label_features(split)
    targets -= targets.mean(axis=0)
    at_once = max(1, MEANS_BYTES // (4 * len(split) * model.config.hidden_size))
    return [
        score
        for first in range(0, len(layouts), at_once)
        for score in _alignments(evaluator, model, layouts[first : first + at_once], split, targets)
    ]


def _alignments(
    evaluator: LayoutEvaluator,
    model: PreTrainedModel,
    layouts: Sequence[Layout],
    split: EncodedSplit,
    targets: NDArray[np.float64],
) -> list[float]:
    device, root = evaluator.device, build_trie(layouts)
    means = np.empty((len(layouts), len(split), model.config.hidden_size), dtype=np.float32)
    for rows in length_sorted_batches(split.lengths, evaluator.budget.batch):
        lengths = torch.from_numpy(split.lengths[rows]).to(device)
        for visit in walk_trie(model, root, split, rows, device):
            tokens = torch.arange(visit.state.shape[1], device=device)
            mask = (tokens < lengths[:, None]).unsqueeze(-1)  # (rows, longest, 1)
            sums = (visit.state.float() * mask).sum(1)  # -> (rows, hidden)
            means[visit.number, rows] = (sums / lengths[:, None]).cpu().numpy()
    centred = (each.astype(np.float64) - each.mean(axis=0) for each in means)
    return [alignment(features, targets) for features in centred]


def _label_features(split: EncodedSplit) -> NDArray[np.float64]:
    """Return what is to be told of each row: its classes, its number, or how often it has a tag."""
    labels = split.labels
    if labels.dtype.kind == "f":
        return np.array(labels[:, None], dtype=np.float64)
    if labels.ndim == 2 and split.words is None:  # one column for each class
        return np.array(labels, dtype=np.float64)
    # The last column is that of `NO_WORD`.
    one_hot: NDArray[np.float64] = np.eye(int(labels.max()) + 2)[labels]
    return one_hot[..., :-1] if labels.ndim == 1 else np.asarray(one_hot[..., :-1].sum(axis=1))


def alignment(features: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return the linear centred kernel alignment of features and labels, in [0, 1].

    `features` (rows, hidden) and one-hot `targets` (rows, classes) are centred. 0 where all rows
    are alike. Kornblith et al. 2019, https://arxiv.org/abs/1905.00414.
    """
    shared = np.linalg.norm(features.T @ targets) ** 2
    norm = np.linalg.norm(features.T @ features) * np.linalg.norm(targets.T @ targets)
    return float(shared / norm) if norm else 0.0


# Each proxy earned its cost; those that did not are described in studies/README.md.
PROXIES: dict[str, Proxy] = {
    "alignment": label_alignment,
    "leave-one-out": leave_one_out,
}
