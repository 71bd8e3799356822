"""One-shot scores: how layouts do with shared weights, as they are, on the validation rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.layouts.layout import Layout
from autoprune.scoring.trie import count_passes, trie_of, walk
from autoprune.tasks.batching import in_order
from autoprune.tasks.tokenising import Encoded

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shared:
    """What `layout` scored with the shared weights on `rows` rows; `loss` is in nats a row."""

    layout: Layout
    loss: float
    accuracy: float
    rows: int


@dataclass(frozen=True, slots=True)
class OneShot:
    """The scores in the order asked for; how many layers ran, each counted once for all rows.

    A layer that ran on half of the rows counts half.
    """

    scores: tuple[Shared, ...]
    layer_passes: float


def score_all(
    model: PreTrainedModel,
    layouts: Sequence[Layout],
    rows: Encoded,
    batch: int,
    device: torch.device,
    rungs: int = 1,
) -> OneShot:
    """Score every layout with the weights of `model`, which is in evaluation mode on `device`.

    With several `rungs`, successive halving: the rows come in as many equal shares, and each next
    share is for the better half, by mean loss, of those that saw the one before. The others keep
    the score they have. Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943.
    """
    losses, hits, seen = np.zeros((3, len(layouts)))
    staying: Places = np.arange(len(layouts))
    passes = 0.0
    for share in _shares(rows.lengths, batch, rungs):
        root = trie_of([layouts[number] for number in staying])
        for index in share:
            labels = torch.from_numpy(rows.labels[index]).to(device)
            passes += count_passes(root) * len(index)
            seen[staying] += len(index)
            for visit in walk(model, root, rows, index, device):
                logits = visit.logits().float()
                place = staying[visit.number]
                losses[place] += functional.cross_entropy(logits, labels, reduction="sum").item()
                hits[place] += (logits.argmax(-1) == labels).sum().item()
        ranked = staying[np.argsort(losses[staying] / seen[staying], kind="stable")]
        staying = np.sort(ranked[: (len(ranked) + 1) // 2])
    scores = tuple(
        Shared(layout, float(losses[i] / seen[i]), float(hits[i] / seen[i]), int(seen[i]))
        for i, layout in enumerate(layouts)
    )
    return OneShot(scores, passes / len(rows))


def some(rows: Encoded, most: int, seed: int) -> Encoded:
    """Return at most `most` of the rows, drawn by `seed`, in their order."""
    if len(rows) <= most:
        return rows
    places = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    return replace(
        rows,
        starts=rows.starts[places],
        lengths=rows.lengths[places],
        labels=rows.labels[places],
    )


def _shares(lengths: Places, batch: int, rungs: int) -> Iterator[list[Places]]:
    """Yield the batches of each rung: like lengths together, no rung all long or all short."""
    index = in_order(lengths, batch)
    for first in range(min(rungs, len(index))):
        yield index[first :: min(rungs, len(index))]
