"""Tokenization: a split's texts become token ids once, and all trials share them; batching."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.errors import ModelError, OptionError
from autoprune.tasks.task import LabelledRows

# Batches that are sorted by length together: enough for similar lengths, few enough to stay random.
BATCHES_PER_CHUNK = 50


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSplit:
    """Token ids of all rows in one flat array, without padding.

    `ids`, int32 (tokens,): row `i` is `ids[starts[i] : starts[i] + lengths[i]]`; `types`, the
    token types in the same order, or None where the model has none; `lengths`, `starts` and
    `labels`, int64 (rows,); `truncated` is how many rows were longer than the limit;
    `kept`: token `i` is the tokenizer's token `kept[i]` (see `remap_tokens`), None where the two
    are equal. `unknown` is how many tokens stand for what the tokenizer does not know, `special`
    how many it adds to a row; `whole_lengths`, int64 (rows,), are the lengths before the cut, and
    `digests`, uint64 (rows,), the hashes of the tokens before the cut.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    pad_id: int
    pad_type: int
    truncated: int
    kept: NDArray[np.int64] | None = None
    unknown: int = 0
    special: int = 0
    whole_lengths: NDArray[np.int64] | None = None
    digests: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def encode(rows: LabelledRows, tokenizer: Any, tokens: int) -> EncodedSplit:
    """Tokenize rows with their special tokens, each cut to `tokens` or the tokenizer's limit.

    Of two texts the longer one is cut first. Raises `OptionError` where `tokens` leaves no room
    for a token of the text, `ModelError` for a tokenizer without a padding token.
    """
    if tokenizer.pad_token_id is None:
        raise ModelError("the tokenizer must have a padding token, this one has none")
    limit = min(tokens, tokenizer.model_max_length)
    special = tokenizer.num_special_tokens_to_add(pair=rows.pairs is not None)
    if limit <= special:
        raise OptionError(f"tokens must be at least {special + 1} for this tokenizer, got {tokens}")
    has_types = "token_type_ids" in tokenizer.model_input_names
    encoding = _tokenize(tokenizer, rows, has_types, limit)
    lengths = np.array([len(row) for row in encoding["input_ids"]], dtype=np.int64)
    ids = _flatten(encoding["input_ids"])
    whole = _whole_rows(rows, tokenizer, encoding["input_ids"], limit)
    whole_lengths = np.array([len(row) for row in whole], dtype=np.int64)
    unknown = _unknown_token(tokenizer)
    return EncodedSplit(
        ids=ids,
        types=_flatten(encoding["token_type_ids"]) if has_types else None,
        starts=np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int64),
        lengths=lengths,
        labels=np.array(rows.labels, dtype=np.int64),
        pad_id=tokenizer.pad_token_id,
        pad_type=tokenizer.pad_token_type_id,
        truncated=int((whole_lengths > lengths).sum()),
        unknown=0 if unknown is None else int((ids == unknown).sum()),
        special=special,
        whole_lengths=whole_lengths,
        digests=np.fromiter(map(_digest, whole), dtype=np.uint64, count=len(whole)),
    )


def remap_tokens(encoded: EncodedSplit, kept: NDArray[np.int64]) -> EncodedSplit:
    """Return `encoded` with token `kept[i]` replaced by `i`; `kept` (ascending) has all its tokens.

    Padding must have the same number before and after.
    """
    ids = np.searchsorted(kept, encoded.ids)
    assert (kept[ids] == encoded.ids).all(), "a token is not kept"
    return replace(encoded, ids=ids.astype(np.int32), kept=kept)


def shuffled_batches(
    lengths: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return one epoch: each row's number once, in batches of `batch` rows (one may be smaller).

    Rows are shuffled, sorted by length within chunks, and then the batches are shuffled.
    """
    order = rng.permutation(len(lengths))
    epoch = []
    for start in range(0, len(order), BATCHES_PER_CHUNK * batch):
        chunk = order[start : start + BATCHES_PER_CHUNK * batch]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        epoch += [chunk[first : first + batch] for first in range(0, len(chunk), batch)]
    return [epoch[number] for number in rng.permutation(len(epoch))]


def length_sorted_batches(lengths: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Return each row's number once, the longest first: too large a batch fails at once."""
    order = np.argsort(-lengths, kind="stable")
    return [order[first : first + batch] for first in range(0, len(order), batch)]


def collate(encoded: EncodedSplit, index: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    """Return the model's inputs for the rows with the numbers `index`, in that order.

    `input_ids`, `attention_mask` and, where the model takes them, `token_type_ids`: int64
    (rows, longest); `labels`: int64 (rows,).
    """
    lengths, starts = encoded.lengths[index], encoded.starts[index]
    column = np.arange(lengths.max())
    mask = column < lengths[:, None]  # (rows, longest)
    positions = np.where(mask, starts[:, None] + column, 0)
    inputs = {
        "input_ids": np.where(mask, encoded.ids[positions], encoded.pad_id),
        "attention_mask": mask,
        "labels": encoded.labels[index],
    }
    if encoded.types is not None:
        inputs["token_type_ids"] = np.where(mask, encoded.types[positions], encoded.pad_type)
    return {name: torch.from_numpy(array.astype(np.int64)) for name, array in inputs.items()}


def _tokenize(tokenizer: Any, rows: LabelledRows, has_types: bool, limit: int | None) -> Any:
    """Return the lists of token ids, cut to `limit` tokens (None: whole)."""
    return tokenizer(
        list(rows.texts),
        None if rows.pairs is None else list(rows.pairs),
        return_attention_mask=False,
        return_token_type_ids=has_types,
        verbose=False,
        truncation=limit is not None,
        max_length=limit,
    )


def _flatten(rows: list[list[int]]) -> NDArray[np.int32]:
    return np.fromiter((token for row in rows for token in row), dtype=np.int32)


def _whole_rows(
    rows: LabelledRows, tokenizer: Any, cut: list[list[int]], limit: int
) -> list[list[int]]:
    """Return the token ids of each row before the cut to `limit`."""
    full = [i for i, row in enumerate(cut) if len(row) == limit]  # only these can have been cut
    whole = list(cut)
    if full:
        candidates = LabelledRows(
            tuple(rows.texts[i] for i in full),
            (0,) * len(full),
            None if rows.pairs is None else tuple(rows.pairs[i] for i in full),
        )
        found = _tokenize(tokenizer, candidates, False, None)["input_ids"]
        for i, row in zip(full, found, strict=True):
            whole[i] = row
    return whole


def _unknown_token(tokenizer: Any) -> int | None:
    """Return the token of what is not known; None where it has another meaning, as in GPT-2."""
    special = tokenizer.special_tokens_map
    others = {token for name, token in special.items() if name != "unk_token"}
    return None if tokenizer.unk_token in others else tokenizer.unk_token_id


def _digest(row: list[int]) -> int:
    content = np.array(row, dtype=np.int32).tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
