"""Packing: the texts as one stream of tokens on disk, cut into blocks without padding.

Each text ends with [SEP]; a block is [CLS] and the stream's next tokens, so it may hold the end of
one text and the beginning of others. All tokens of a block attend to each other, across texts too,
as where RoBERTa packs full sentences across documents (arXiv 1907.11692).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

_TEXTS = 1000  # encoded at a time


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """All texts' tokens in a row; `begins` tells which of them begin a word."""

    tokens: NDArray[np.uint32]
    begins: NDArray[np.bool_]


def write_stream(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the stream of `texts` as two files beside each other, their names begun by `path`."""
    with _tokens(path).open("wb") as tokens, _begins(path).open("wb") as begins:
        left = iter(texts)
        while some := list(islice(left, _TEXTS)):
            for ids, starts in _encode(some, tokenizer):
                tokens.write(np.array(ids, "<u4").tobytes())
                begins.write(np.array(starts, "?").tobytes())


def read_stream(path: Path) -> Stream:
    """Map the files that `write_stream` wrote into memory."""
    return Stream(np.memmap(_tokens(path), "<u4", "r"), np.memmap(_begins(path), "?", "r"))


def blocks_in(stream: Stream, length: int) -> int:
    """Return how many blocks of `length` tokens, [CLS] among them, one pass takes."""
    return -(-len(stream.tokens) // (length - 1))


def cut(
    stream: Stream, blocks: NDArray[np.int64], length: int, offset: int, first: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the tokens of `blocks` and where words begin, each (blocks, length).

    Block 0 begins `offset` tokens into the stream, which goes round: the last block is filled up
    from the beginning. `first` is the number of [CLS].
    """
    at = offset + blocks[:, None] * (length - 1) + np.arange(length - 1)
    at %= len(stream.tokens)
    tokens = np.full((len(blocks), length), first, dtype=np.int64)
    begins = np.ones((len(blocks), length), dtype=np.bool_)
    tokens[:, 1:], begins[:, 1:] = stream.tokens[at], stream.begins[at]
    begins[:, 1] = True  # what lies before the block is not seen
    return tokens, begins


def batch_at(
    stream: Stream, step: int, size: int, length: int, first: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the batch of a step; all steps of a pass take each block once, in an order of its own.

    Each pass also cuts at other places. Depends on the arguments alone, so nothing about the order
    need be kept to go on at a later step.
    """
    per_pass = blocks_in(stream, length)
    numbers = np.arange(step * size, (step + 1) * size)
    parts = []
    for once in np.unique(numbers // per_pass):
        order, offset = _order(per_pass, length, seed, int(once))
        within = numbers[numbers // per_pass == once] % per_pass
        parts.append(cut(stream, order[within], length, offset, first))
    tokens, begins = zip(*parts, strict=True)
    return np.concatenate(tokens), np.concatenate(begins)


@lru_cache(maxsize=2)
def _order(per_pass: int, length: int, seed: int, once: int) -> tuple[NDArray[np.int64], int]:
    rng = np.random.default_rng([seed, once])
    return rng.permutation(per_pass), int(rng.integers(length - 1))


def _encode(
    texts: list[str], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[list[int], list[bool]]]:
    rows = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    for row in rows:
        words = row.word_ids
        starts = [word != before for word, before in zip(words, [None, *words[:-1]], strict=True)]
        yield [*row.ids, tokenizer.sep_token_id], [*starts, True]


def _tokens(path: Path) -> Path:
    return path.with_suffix(".tokens")


def _begins(path: Path) -> Path:
    return path.with_suffix(".begins")
