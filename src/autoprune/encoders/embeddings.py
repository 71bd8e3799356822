"""Token embeddings: a search trains only the rows of the tokens that occur in the task."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel


def used_token_ids(pad_id: int, *ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the token ids that occur in any of `ids`, ascending, and all up to the padding's.

    The latter keep the padding's number unchanged: RoBERTa counts positions from it, and MPNet from
    number 1 whatever its tokenizer says.

    >>> used_token_ids(0, np.array([7, 3], dtype=np.int32))
    array([0, 1, 3, 7])
    """
    return np.unique(np.concatenate([np.arange(max(pad_id, 1) + 1), *ids])).astype(np.int64)


def keep_embedding_rows(model: PreTrainedModel, kept: NDArray[np.int64]) -> int:
    """Keep only the embedding rows `kept` of `model`, in place; return how many weights are gone.

    Token `kept[i]` becomes token `i`. On texts of these tokens, no logit and no gradient of another
    weight changes: a row that is never looked up has gradient zero. Two thirds of MahaBERT-v2's
    weights are such rows. For training only: the config keeps the old vocabulary.
    """
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding), "token embeddings are a table"
    pad = table.padding_idx
    assert pad is None or kept[pad] == pad, "padding keeps its number"
    rows = table.weight.detach()[torch.from_numpy(kept)].clone()
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pad))
    return int(table.weight.numel() - rows.numel())


def restore_embeddings(
    model: PreTrainedModel, weights: Mapping[str, NDArray[Any]], kept: NDArray[np.int64] | None
) -> None:
    """Load trained `weights` into `model` in place, which has the same layers and all tokens.

    Row `i` of their token embeddings belongs to token `kept[i]` (None: they have all rows); the
    other rows, left out of training, stay as they are in `model`. Raises RuntimeError where names
    or shapes differ.
    """
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    table = model.get_input_embeddings().weight
    name = next(name for name, weight in model.named_parameters() if weight is table)
    if kept is not None:
        whole = table.detach().clone()
        whole[torch.from_numpy(kept)] = state[name]
        state[name] = whole
    model.load_state_dict(state)
