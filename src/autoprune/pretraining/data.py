"""Packing: the texts as one stream of tokens on disk, cut into blocks without padding.

Each text ends with [SEP]; a block is [CLS] and the stream's next tokens, so it may hold the end of
one text and the beginning of others. All tokens of a block attend to each other, across texts too,
as where RoBERTa packs full sentences across documents (arXiv 1907.11692).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from autoprune.errors import DataError

HELD_OUT_TEXTS = 0.01  # share of the distinct texts that is kept apart

MAX_TEXT_BYTES = 1 << 20  # bytes of a line

_RANGE = 1 << 64

_BINARY = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f"))


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files that were read once and found to be text.

    A text is kept apart if its digest is at most `last`: equal texts stay together.
    """

    paths: tuple[Path, ...]
    fingerprint: str
    texts: int
    last: int


def scan_corpus(paths: Sequence[Path]) -> Corpus:
    """Read all files once; raises `DataError` that names file and line."""
    whole = hashlib.sha256()
    texts, lowest, highest = 0, _RANGE, 0
    for path in paths:
        before = texts
        for text in _lines(path):
            texts += 1
            whole.update(text.encode() + b"\n")
            lowest, highest = min(lowest, _digest(text)), max(highest, _digest(text))
        if texts == before:
            raise DataError(f"a corpus is a text file with a text a line, {path} has none")
    if lowest == highest:
        raise DataError(
            "a corpus needs two different texts at least, one to learn from and one to judge by: "
            f"{paths[0]} has one"
        )
    # A small corpus may have no text in the share: its lowest is taken then. In one where all are
    # in the share the highest is learned from.
    last = min(max(int(HELD_OUT_TEXTS * _RANGE), lowest), highest - 1)
    return Corpus(tuple(paths), f"sha256:{whole.hexdigest()[:32]}", texts, last)


def read_texts(corpus: Corpus, apart: bool) -> Iterator[str]:
    """Yield the texts kept apart, or all others, in the order of the files."""
    for path in corpus.paths:
        for text in _lines(path):
            if (_digest(text) <= corpus.last) == apart:
                yield text


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines that hold a text, without the space around it."""
    if not path.is_file():  # a pipe could be read but once
        found = "is none" if path.exists() else "is not there"
        raise DataError(f"a corpus is a text file with a text a line, {path} {found}")
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_TEXT_BYTES + 1):
                number += 1
                if text := _text(line, path, number):
                    yield text
    except OSError as error:
        raise DataError(f"cannot read the corpus {path}: {error.strerror}") from error


def _text(line: bytes, path: Path, number: int) -> str:
    where = f"{path}, line {number}"
    if len(line) > MAX_TEXT_BYTES:
        raise DataError(
            f"a corpus has a text a line, {where} is over {MAX_TEXT_BYTES >> 20} MiB: split it"
        )
    if line.translate(None, _BINARY) != line:
        raise DataError(f"a corpus is plain text, {where} has control characters: is it binary?")
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"a corpus is a text file in UTF-8, {where} is not (byte {error.start + 1}): convert it"
        ) from error
    return " ".join(text.split())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


MASKED_SHARE = 0.2  # of the words

_MASKED, _OTHER = 0.8, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class TokenKinds:
    """A tokenizer's tokens: that which masks, and the ordinary ones, each (tokens,)."""

    mask: int
    ordinary: NDArray[np.int64]
    special: NDArray[np.bool_]


def token_kinds(size: int, special: list[int], mask: int) -> TokenKinds:
    """Tell special tokens from ordinary ones among `size`."""
    flags = np.zeros(size, dtype=np.bool_)
    flags[special] = True
    return TokenKinds(mask, np.flatnonzero(~flags), flags)


def mask_tokens(
    tokens: NDArray[np.int64],
    begins: NDArray[np.bool_],
    kinds: TokenKinds,
    rng: np.random.Generator,
    share: float = MASKED_SHARE,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what the model sees and which tokens it must guess, each (blocks, length).

    Each word is chosen with probability `share`, special tokens never.
    """
    places = np.arange(tokens.shape[1])
    start = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    drawn = np.take_along_axis(rng.random(tokens.shape), start, axis=1)  # one number a word
    hidden = (drawn < share) & ~kinds.special[tokens]
    how = rng.random(tokens.shape)
    others = rng.choice(kinds.ordinary, tokens.shape)
    seen = np.where(hidden & (how < _MASKED), kinds.mask, tokens)
    return np.where(hidden & (how >= 1 - _OTHER), others, seen), hidden


_TEXTS = 1000  # encoded at a time


@dataclass(frozen=True, slots=True, eq=False)
class TokenStream:
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


def read_stream(path: Path) -> TokenStream:
    """Map the files that `write_stream` wrote into memory."""
    return TokenStream(np.memmap(_tokens(path), "<u4", "r"), np.memmap(_begins(path), "?", "r"))


def count_blocks(stream: TokenStream, length: int) -> int:
    """Return how many blocks of `length` tokens, [CLS] among them, one pass takes."""
    return -(-len(stream.tokens) // (length - 1))


def cut_blocks(
    stream: TokenStream, blocks: NDArray[np.int64], length: int, offset: int, first: int
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


def batch_for_step(
    stream: TokenStream, step: int, size: int, length: int, first: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the batch of a step; all steps of a pass take each block once, in an order of its own.

    Each pass also cuts at other places. Depends on the arguments alone, so nothing about the order
    need be kept to go on at a later step.
    """
    per_pass = count_blocks(stream, length)
    numbers = np.arange(step * size, (step + 1) * size)
    parts = []
    for once in np.unique(numbers // per_pass):
        order, offset = _order(per_pass, length, seed, int(once))
        within = numbers[numbers // per_pass == once] % per_pass
        parts.append(cut_blocks(stream, order[within], length, offset, first))
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
