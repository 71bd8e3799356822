"""Model for pre-training: BERT with its masked-language-modelling head, and its first weights."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd
from torch import nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from autoprune.pretraining.config import EncoderShape
from autoprune.pretraining.data import TokenStream
from autoprune.pretraining.tokenizer import LONGEST_INPUT

DROPOUT = 0.1  # for fine-tuning

COOCCURRENCE_WINDOW = 4  # tokens to either side

_COUNTED_TOGETHER = 1 << 20  # tokens

_CONTEXT_POWER = 0.75  # smooths the counts of the context tokens, as in word2vec


def build_encoder(
    shape: EncoderShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> BertForMaskedLM:
    """Return a model with random weights drawn from `seed`, in float32 on the CPU.

    It has no dropout: texts that are seen a few times do not need it (see `set_dropout_`).
    """
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=max(LONGEST_INPUT, shape.tokens),
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config)


def set_dropout_(model: BertForMaskedLM) -> None:
    """Set the dropout in the config, in place, to that with which BERT is fine-tuned."""
    model.config.hidden_dropout_prob = DROPOUT
    model.config.attention_probs_dropout_prob = DROPOUT


def masked_loss_sum(
    model: BertForMaskedLM, inputs: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the sum of the cross-entropies of the masked tokens, in float32.

    `inputs` is (blocks, length); `positions` are the masked places of the flattened inputs,
    `labels` the tokens before masking, both (masked,). Logits are computed at these places only:
    with a vocabulary of 16,000 the logits of one token cost more than six layers of 128 units.
    """
    states = model.bert(input_ids=inputs).last_hidden_state.flatten(0, 1)
    logits = model.cls(states[positions])  # (masked, vocabulary)
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")


def warm_start_(model: BertForMaskedLM, stream: TokenStream, special: list[int], seed: int) -> None:
    """Set the embeddings of the tokens in `stream`, in place, from counts of their neighbours.

    They get the mean and the standard deviation of random embeddings. Special tokens and tokens
    without a neighbour keep theirs, and all do where the counts tell no two tokens apart.
    """
    weights = model.get_input_embeddings().weight  # in float32
    size, width = weights.shape
    counts = cooccurrence_counts(stream, size, special)
    rows = np.flatnonzero(np.asarray(counts.sum(1)))
    if len(rows) < 2:
        return
    factors = embedding_factors(counts, width, seed)[rows]
    factors -= factors.mean(0)
    if deviation := factors.std():
        factors *= model.config.initializer_range / deviation
        with torch.no_grad():
            weights[rows] = torch.from_numpy(factors).to(weights.device)


def cooccurrence_counts(stream: TokenStream, size: int, special: list[int]) -> csr_matrix:
    """Count how often two ordinary tokens stand in one window, weighted by 1/distance.

    Returns a symmetric matrix (size, size).
    """
    is_special = np.isin(np.arange(size), special)
    none = np.zeros(0, dtype=np.int64)
    total = csr_matrix((none.astype(np.float32), (none, none)), (size, size))
    for start in range(0, len(stream.tokens), _COUNTED_TOGETHER):
        end = start + _COUNTED_TOGETHER + COOCCURRENCE_WINDOW
        tokens = np.asarray(stream.tokens[start:end], dtype=np.int64)
        for distance in range(1, COOCCURRENCE_WINDOW + 1):
            left = tokens[:-distance][:_COUNTED_TOGETHER]
            right = tokens[distance:][:_COUNTED_TOGETHER]
            ordinary = ~(is_special[left] | is_special[right])
            pairs = left[ordinary], right[ordinary]
            weights = np.full(len(pairs[0]), 1 / distance, dtype=np.float32)
            total = total + coo_matrix((weights, pairs), (size, size)).tocsr()
    return (total + total.T).tocsr()


def embedding_factors(counts: csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
    """Factorize the positive pointwise mutual information of `counts`.

    Returns the leading left singular vectors times the square roots of their singular values,
    (size, width). Columns beyond the size of the matrix are 0. Randomized SVD gives the same
    numbers for the same seed, unlike ARPACK, also for matrices of low rank.
    """
    token = np.asarray(counts.sum(1)).ravel()
    context = token**_CONTEXT_POWER
    pairs = counts.tocoo()
    with np.errstate(divide="ignore"):
        information = np.log(pairs.data * context.sum() / (token[pairs.row] * context[pairs.col]))
    keep = information > 0
    matrix = csr_matrix(
        (information[keep], (pairs.row[keep], pairs.col[keep])), counts.shape, dtype=np.float32
    )
    rank = min(width, *matrix.shape)
    options = {"n_oversamples": 16, "n_iter": 4, "power_iteration_normalizer": "QR"}
    vectors, values, _ = randomized_svd(matrix, rank, random_state=seed, **options)
    factors = np.zeros((matrix.shape[0], width), dtype=np.float32)
    factors[:, :rank] = vectors * np.sqrt(values)
    return factors
