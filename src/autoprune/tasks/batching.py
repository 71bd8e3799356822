"""Batches of rows of like length, padded to the longest among them and no further."""

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.tasks.tokenising import Encoded

CHUNK = 50  # batches that are sorted together: enough for like lengths, few enough to stay random


def batches(
    lengths: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return one epoch: every row's place once, in batches of `batch` rows (one may be smaller).

    Rows are shuffled, sorted by length within chunks, and the batches shuffled again.
    """
    order = rng.permutation(len(lengths))
    epoch = []
    for start in range(0, len(order), CHUNK * batch):
        chunk = order[start : start + CHUNK * batch]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        epoch += [chunk[first : first + batch] for first in range(0, len(chunk), batch)]
    return [epoch[place] for place in rng.permutation(len(epoch))]


def in_order(lengths: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Return every row's place once, the longest first: what is too large fails at once."""
    order = np.argsort(-lengths, kind="stable")
    return [order[first : first + batch] for first in range(0, len(order), batch)]


def collate(encoded: Encoded, index: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    """Return the model's inputs for the rows at the places `index`, in that order.

    `input_ids`, `attention_mask` and, where the model takes them, `token_type_ids`: int64
    (rows, longest); `labels`: int64 (rows,).
    """
    lengths, starts = encoded.lengths[index], encoded.starts[index]
    column = np.arange(lengths.max())
    mask = column < lengths[:, None]  # (rows, longest)
    places = np.where(mask, starts[:, None] + column, 0)
    inputs = {
        "input_ids": np.where(mask, encoded.ids[places], encoded.pad_id),
        "attention_mask": mask,
        "labels": encoded.labels[index],
    }
    if encoded.types is not None:
        inputs["token_type_ids"] = np.where(mask, encoded.types[places], encoded.pad_type)
    return {name: torch.from_numpy(array.astype(np.int64)) for name, array in inputs.items()}
