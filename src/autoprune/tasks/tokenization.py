"""Tokenising: a split's texts become token ids once, and every trial reuses them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.errors import ModelError, OptionError
from autoprune.tasks.task import LabelledRows


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSplit:
    """Token ids of all rows in one flat array, without padding.

    `ids`, int32 (tokens,): row `i` is `ids[starts[i] : starts[i] + lengths[i]]`; `types`, the
    token types likewise, or None where the model takes none; `lengths`, `starts` and `labels`,
    int64 (rows,); `cut` is how many rows were longer than the limit; `kept`: token `i` stands for
    the tokenizer's token `kept[i]` (see `remap_tokens`), None where the two agree.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    pad_id: int
    pad_type: int
    cut: int
    kept: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def encode(rows: LabelledRows, tokenizer: Any, tokens: int) -> EncodedSplit:
    """Tokenise rows with their special tokens, each cut to `tokens` or the tokenizer's limit.

    Of two texts the longer one is cut first. Raises `OptionError` where `tokens` leaves no room
    for a token of the text, `ModelError` for a tokenizer that cannot pad.
    """
    if tokenizer.pad_token_id is None:
        raise ModelError("the tokenizer must have a padding token, this one has none")
    limit = min(tokens, tokenizer.model_max_length)
    special = tokenizer.num_special_tokens_to_add(pair=rows.pairs is not None)
    if limit <= special:
        raise OptionError(f"tokens must be at least {special + 1} for this tokenizer, got {tokens}")
    typed = "token_type_ids" in tokenizer.model_input_names
    ids = _call(tokenizer, rows, typed, truncation=True, max_length=limit)
    lengths = np.array([len(row) for row in ids["input_ids"]], dtype=np.int64)
    return EncodedSplit(
        ids=_flat(ids["input_ids"]),
        types=_flat(ids["token_type_ids"]) if typed else None,
        starts=np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int64),
        lengths=lengths,
        labels=np.array(rows.labels, dtype=np.int64),
        pad_id=tokenizer.pad_token_id,
        pad_type=tokenizer.pad_token_type_id,
        cut=_count_longer(rows, tokenizer, lengths, limit),
    )


def remap_tokens(encoded: EncodedSplit, kept: NDArray[np.int64]) -> EncodedSplit:
    """Return `encoded` with token `kept[i]` written as `i`; every token occurs in `kept` (rising).

    Padding must have the same number before and after.
    """
    places = np.searchsorted(kept, encoded.ids)
    assert (kept[places] == encoded.ids).all(), "no token is left out"
    return replace(encoded, ids=places.astype(np.int32), kept=kept)


def _call(tokenizer: Any, rows: LabelledRows, typed: bool, **options: Any) -> Any:
    return tokenizer(
        list(rows.texts),
        None if rows.pairs is None else list(rows.pairs),
        return_attention_mask=False,
        return_token_type_ids=typed,
        verbose=False,
        **options,
    )


def _flat(rows: list[list[int]]) -> NDArray[np.int32]:
    return np.fromiter((token for row in rows for token in row), dtype=np.int32)


def _count_longer(
    rows: LabelledRows, tokenizer: Any, lengths: NDArray[np.int64], limit: int
) -> int:
    full = np.flatnonzero(lengths == limit)  # only these can have been cut
    if not len(full):
        return 0
    some = LabelledRows(
        tuple(rows.texts[i] for i in full),
        (0,) * len(full),
        None if rows.pairs is None else tuple(rows.pairs[i] for i in full),
    )
    whole = _call(tokenizer, some, False, truncation=False)["input_ids"]
    return sum(len(row) > limit for row in whole)


TOKENIZER_CHUNK = (
    50  # batches that are sorted together: enough for like lengths, few enough to stay random
)


def shuffled_batches(
    lengths: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return one epoch: every row's place once, in batches of `batch` rows (one may be smaller).

    Rows are shuffled, sorted by length within chunks, and the batches shuffled again.
    """
    order = rng.permutation(len(lengths))
    epoch = []
    for start in range(0, len(order), TOKENIZER_CHUNK * batch):
        chunk = order[start : start + TOKENIZER_CHUNK * batch]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        epoch += [chunk[first : first + batch] for first in range(0, len(chunk), batch)]
    return [epoch[place] for place in rng.permutation(len(epoch))]


def length_sorted_batches(lengths: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Return every row's place once, the longest first: what is too large fails at once."""
    order = np.argsort(-lengths, kind="stable")
    return [order[first : first + batch] for first in range(0, len(order), batch)]


def collate(encoded: EncodedSplit, index: NDArray[np.int64]) -> dict[str, torch.Tensor]:
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
