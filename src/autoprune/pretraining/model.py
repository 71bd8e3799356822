"""The model that is trained: BERT with its head for masked words, by its measures."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from torch import nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from autoprune.errors import OptionError
from autoprune.pretraining.data import TokenStream
from autoprune.pretraining.tokenizer import LONGEST_INPUT

DROPOUT = 0.1

_A_HEAD = 64  # hidden units of a head, as in BERT


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """How large the encoder is; `tokens` is the length of a block."""

    layers: int
    hidden: int
    heads: int
    inner: int
    tokens: int


def encoder_shape(
    layers: int, hidden: int, heads: int | None, inner: int | None, tokens: int
) -> EncoderShape:
    """Return the measures, by default a head for 64 units and four times as many inner ones.

    Raises `OptionError` where the heads do not share the units evenly.
    """
    heads = max(1, hidden // _A_HEAD) if heads is None else heads
    if hidden % heads:
        raise OptionError(f"--hidden must be a multiple of --heads, got {hidden} and {heads}")
    return EncoderShape(layers, hidden, heads, 4 * hidden if inner is None else inner, tokens)


def build_encoder(
    measured: EncoderShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> BertForMaskedLM:
    """Return the model with random weights drawn from `seed`, in float32 on the CPU.

    Without dropout, which a text seen a few times has no need of: see `initialise_`.
    """
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=measured.hidden,
        num_hidden_layers=measured.layers,
        num_attention_heads=measured.heads,
        intermediate_size=measured.inner,
        max_position_embeddings=max(LONGEST_INPUT, measured.tokens),
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config)


def initialise_(model: BertForMaskedLM) -> None:
    """Write into the config, in place, the dropout that BERT is fine-tuned with."""
    model.config.hidden_dropout_prob = DROPOUT
    model.config.attention_probs_dropout_prob = DROPOUT


def masked_loss_sum(
    model: BertForMaskedLM, seen: torch.Tensor, hidden: torch.Tensor, meant: torch.Tensor
) -> torch.Tensor:
    """Return the sum of the losses of the hidden tokens, in float32.

    `seen` is (blocks, length), `hidden` the hidden places in its flat order, `meant` the tokens
    that stood there. Logits are made at these places only: with a vocabulary of 16,000 those of
    one token cost more than six layers of 128 units.
    """
    states = model.bert(input_ids=seen).last_hidden_state.flatten(0, 1)  # (blocks * length, hidden)
    logits = model.cls(states[hidden])  # (hidden tokens, vocabulary)
    return nn.functional.cross_entropy(logits.float(), meant, reduction="sum")


COOCCURRENCE_WINDOW = 4  # tokens to either side

_CHUNK = 1 << 20  # tokens counted at a time

_ROUNDS, _MORE = 4, 16  # of the power iteration, and vectors beyond those wanted

_SMOOTH = 0.75  # power of the context's counts, as in word2vec


def warm_start_(model: BertForMaskedLM, stream: TokenStream, special: list[int], seed: int) -> None:
    """Set the embeddings of the ordinary tokens that `stream` holds, in place.

    They get the mean and the spread that random ones have. Tokens that are never near another
    keep theirs, and all do where counts tell no two apart.
    """
    weights = model.get_input_embeddings().weight  # in float32
    size, width = weights.shape
    near = cooccurrence_counts(stream, size, special)
    rows = np.flatnonzero(np.asarray(near.sum(1)))
    if len(rows) < 2:
        return
    found = embedding_factors(near, width, seed)[rows]
    found -= found.mean(0)
    if spread := found.std():
        found *= model.config.initializer_range / spread
        with torch.no_grad():
            weights[rows] = torch.from_numpy(found).to(weights.device)


def cooccurrence_counts(stream: TokenStream, size: int, special: list[int]) -> csr_matrix:
    """Return how often each ordinary token has each other within the window, (size, size)."""
    left_out = np.zeros(size, dtype=bool)
    left_out[special] = True
    none = np.zeros(0, dtype=np.int64)
    total = csr_matrix((none.astype(np.float32), (none, none)), (size, size))
    for start in range(0, len(stream.tokens), _CHUNK):
        some = np.asarray(
            stream.tokens[start : start + _CHUNK + COOCCURRENCE_WINDOW], dtype=np.int64
        )
        for away in range(1, COOCCURRENCE_WINDOW + 1):
            one, other = some[:-away][:_CHUNK], some[away:][:_CHUNK]
            both = ~(left_out[one] | left_out[other])
            weight = np.full(int(both.sum()), 1 / away, dtype=np.float32)
            total = total + coo_matrix((weight, (one[both], other[both])), (size, size)).tocsr()
    return (total + total.T).tocsr()


def embedding_factors(near: csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
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
