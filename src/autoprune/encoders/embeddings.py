"""The vocabulary: during a search, only the embedding rows that the task's tokens touch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel


def used_token_ids(pad_id: int, *ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the token ids that occur in any of `ids`, rising, and all up to the padding's.

    Those are kept so that padding has the number it had: RoBERTa counts positions by it, and
    MPNet by number 1 whatever its tokenizer says.

    >>> touched(0, np.array([7, 3], dtype=np.int32))
    array([0, 1, 3, 7])
    """
    return np.unique(np.concatenate([np.arange(max(pad_id, 1) + 1), *ids])).astype(np.int64)


def keep_embedding_rows(model: PreTrainedModel, kept: NDArray[np.int64]) -> int:
    """Leave only the embedding rows `kept` in `model`, in place; return how many weights went.

    Token `kept[i]` becomes token `i`. On texts made of these tokens no logit and no gradient of
    another weight changes: a row that is never looked up has gradient nought. Two thirds of
    MahaBERT-v2's weights are such rows. For training only: the config keeps the old vocabulary.
    """
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding), "an encoder looks its tokens up in a table"
    pad = table.padding_idx
    assert pad is None or kept[pad] == pad, "padding keeps its number"
    rows = table.weight.detach()[torch.from_numpy(kept)].clone()
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pad))
    return int(table.weight.numel() - rows.numel())


def restore_embeddings(
    model: PreTrainedModel, weights: Mapping[str, NDArray[Any]], kept: NDArray[np.int64] | None
) -> None:
    """Put trained `weights` into `model` in place: the same layers, with its whole vocabulary.

    Row `i` of their token table is that of token `kept[i]` (None: they have the whole table); all
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
