"""Model for pre-training: an encoder with its masked-language-modelling head, new or given."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import ModelOutput

from autoprune.pretraining.config import EncoderShape
from autoprune.pretraining.data import LONGEST_INPUT, TokenStream

COOCCURRENCE_WINDOW = 4  # tokens to either side

_COUNTED_TOGETHER = 1 << 20  # tokens

_CONTEXT_POWER = 0.75  # smooths the counts of the context tokens, as in word2vec


def build_encoder(
    shape: EncoderShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> BertForMaskedLM:
    """Return a model with random weights drawn from `seed`, in float32 on the CPU, in eval mode."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=max(LONGEST_INPUT, shape.tokens),
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config).eval()


def masked_loss_sum(
    model: PreTrainedModel, inputs: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the sum of the cross-entropies of the masked tokens, in float32.

    `inputs` is (blocks, length); `positions` are the masked places of the flattened inputs,
    `labels` the tokens before masking, both (masked,). The head is given the states of these places
    only: with a vocabulary of 16,000 the logits of one token cost more than six layers of 128
    units.
    """

    def select(_module: nn.Module, _inputs: object, output: ModelOutput) -> ModelOutput:
        output["last_hidden_state"] = output["last_hidden_state"].flatten(0, 1)[positions]
        return output

    hook = model.base_model.register_forward_hook(select)
    try:
        logits = model(input_ids=inputs, return_dict=True).logits  # (masked, vocabulary)
    finally:
        hook.remove()
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")


def keep_token_rows_(model: PreTrainedModel, kept: NDArray[np.int64]) -> None:
    """Keep only the rows `kept` of the embeddings and of the output layer of `model`, in place.

    Token `kept[i]` becomes token `i`. The config keeps the old vocabulary.
    """
    table, encoder = model.get_input_embeddings().weight, set(model.base_model.modules())
    before = [
        (module, name, weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight is table or (module not in encoder and len(table) in weight.shape)
    ]
    rows = torch.from_numpy(kept)
    after = {
        id(weight): nn.Parameter(weight.detach().index_select(weight.shape.index(len(table)), rows))
        for _, _, weight in before
    }
    for module, name, weight in before:
        setattr(module, name, after[id(weight)])  # what was tied stays tied


def restore_token_rows_(
    model: PreTrainedModel, trained: PreTrainedModel, kept: NDArray[np.int64]
) -> None:
    """Copy the weights of `trained`, which has the rows `kept` only, to `model`, in place."""
    sources, rows = dict(trained.named_parameters()), torch.from_numpy(kept).to(model.device)
    size = len(model.get_input_embeddings().weight)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if sources[name].shape == weight.shape:
                weight.copy_(sources[name])
            else:
                weight.index_copy_(weight.shape.index(size), rows, sources[name])


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
