"""Warm embeddings: what counting which pieces stand near each other tells of them, before training.

Positive pointwise mutual information within a window, factorised by a truncated SVD (Levy and
Goldberg 2014, https://aclanthology.org/Q15-1016).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from transformers import BertForMaskedLM

from autoprune.encoders.pretraining.packing import Stream

WINDOW = 4  # tokens to either side
_CHUNK = 1 << 20  # tokens counted at a time
_ROUNDS, _MORE = 4, 16  # of the power iteration, and vectors beyond those wanted
_SMOOTH = 0.75  # power of the context's counts, as in word2vec


def warm_(model: BertForMaskedLM, stream: Stream, special: list[int], seed: int) -> None:
    """Set the embeddings of the ordinary tokens that `stream` holds, in place.

    They get the mean and the spread that random ones have. Tokens that are never near another
    keep theirs, and all do where counts tell no two apart.
    """
    weights = model.get_input_embeddings().weight  # in float32
    size, width = weights.shape
    near = counts(stream, size, special)
    rows = np.flatnonzero(np.asarray(near.sum(1)))
    if len(rows) < 2:
        return
    found = factors(near, width, seed)[rows]
    found -= found.mean(0)
    if spread := found.std():
        found *= model.config.initializer_range / spread
        with torch.no_grad():
            weights[rows] = torch.from_numpy(found).to(weights.device)


def counts(stream: Stream, size: int, special: list[int]) -> csr_matrix:
    """Return how often each ordinary token has each other within the window, (size, size)."""
    left_out = np.zeros(size, dtype=bool)
    left_out[special] = True
    none = np.zeros(0, dtype=np.int64)
    total = csr_matrix((none.astype(np.float32), (none, none)), (size, size))
    for start in range(0, len(stream.tokens), _CHUNK):
        some = np.asarray(stream.tokens[start : start + _CHUNK + WINDOW], dtype=np.int64)
        for away in range(1, WINDOW + 1):
            one, other = some[:-away][:_CHUNK], some[away:][:_CHUNK]
            both = ~(left_out[one] | left_out[other])
            weight = np.full(int(both.sum()), 1 / away, dtype=np.float32)
            total = total + coo_matrix((weight, (one[both], other[both])), (size, size)).tocsr()
    return (total + total.T).tocsr()


def factors(near: csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
    """Return the left singular vectors of the PPMI of `near`, by the roots of their values.

    (size, width); columns beyond what the matrix can have are 0.
    """
    here = np.asarray(near.sum(1)).ravel()
    context = here**_SMOOTH
    pairs = near.tocoo()
    with np.errstate(divide="ignore"):
        information = np.log(pairs.data * context.sum() / (here[pairs.row] * context[pairs.col]))
    keep = information > 0
    matrix = csr_matrix(
        (information[keep], (pairs.row[keep], pairs.col[keep])), near.shape, dtype=np.float32
    )
    return _leading(matrix, width, seed)


def _leading(matrix: csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
    """Return the leading left singular vectors by the roots of their values, (rows, width).

    By power iteration from random vectors (Halko and others 2011, arXiv 0909.4061), which unlike
    ARPACK gives the same for the same seed, also where the matrix has no such rank.
    """
    rank = min(width, *matrix.shape)
    more = min(rank + _MORE, *matrix.shape)
    drawn = np.random.default_rng(seed).standard_normal((matrix.shape[1], more), dtype=np.float32)
    basis, _ = np.linalg.qr(matrix @ drawn)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ basis)
    left, values, _ = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    found = np.zeros((matrix.shape[0], width), dtype=np.float32)
    found[:, :rank] = ((basis @ left) * np.sqrt(values))[:, :rank]
    return found
