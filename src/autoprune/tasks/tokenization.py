"""Tokenization: texts become token ids once; what the tokenizer cannot read is counted."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.errors import DataError, ModelError, OptionError, quote
from autoprune.tasks.task import NO_LABEL, Label, LabelledRows, RowKey, label_array, words_of

# Batches that are sorted by length together: enough for similar lengths, few enough to stay random.
BATCHES_PER_CHUNK = 50


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSplit:
    """Token ids of all rows in one flat array, without padding.

    `ids`, int32 (tokens,): row `i` is `ids[starts[i] : starts[i] + lengths[i]]`; `types`, the
    token types in the same order, or None where the model has none; `lengths` and `starts`, int64
    (rows,); `labels` (rows,) or as `label_array`; `words`, where each word of a row has a label,
    int64 (rows, words): its first token's place in the row, 0 after the last word; `truncated` is
    how many rows were longer than the limit;
    `kept`: token `i` is the tokenizer's token `kept[i]` (see `remap_tokens`), None where the two
    are equal. `unknown` is how many tokens stand for what the tokenizer does not know, `special`
    how many it adds to a row; `whole_lengths`, int64 (rows,), are the lengths before the cut, and
    `digests`, uint64 (rows,), the hashes of the tokens before the cut.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[Any]
    pad_id: int
    pad_type: int
    truncated: int
    kept: NDArray[np.int64] | None = None
    unknown: int = 0
    special: int = 0
    whole_lengths: NDArray[np.int64] | None = None
    digests: NDArray[np.uint64] | None = None
    words: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def encode(rows: LabelledRows, tokenizer: Any, tokens: int) -> EncodedSplit:
    """Tokenize rows with their special tokens, each cut to `tokens` or the tokenizer's limit.

    Of two texts the longer one is cut first; rows of words with a label each are not cut. Raises
    `OptionError` where `tokens` leaves no room for a token of the text, `ModelError` for a
    tokenizer without a padding token, `DataError` for a row of words that is too long.
    """
    if tokenizer.pad_token_id is None:
        raise ModelError("the tokenizer must have a padding token, this one has none")
    limit = min(tokens, tokenizer.model_max_length)
    _check_words(rows, tokenizer)
    special = tokenizer.num_special_tokens_to_add(pair=rows.pairs is not None)
    if limit <= special:
        raise OptionError(f"tokens must be at least {special + 1} for this tokenizer, got {tokens}")
    has_types = "token_type_ids" in tokenizer.model_input_names
    encoding = _tokenize(tokenizer, rows, has_types, None if rows.by_word else limit)
    words = _words(encoding, rows, limit) if rows.by_word else None
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
        labels=label_array(rows.labels),
        words=words,
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


def take_rows(encoded: EncodedSplit, index: NDArray[np.int64]) -> EncodedSplit:
    """Return the rows with the numbers `index`, in that order."""
    lengths, starts = encoded.lengths[index], encoded.starts[index]
    ends = lengths.cumsum()
    positions = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    return replace(
        encoded,
        ids=encoded.ids[positions],
        types=None if encoded.types is None else encoded.types[positions],
        starts=ends - lengths,
        lengths=lengths,
        labels=encoded.labels[index],
        words=None if encoded.words is None else encoded.words[index],
        whole_lengths=None,
        digests=None,
    )


def join_splits(first: EncodedSplit, second: EncodedSplit) -> EncodedSplit:
    """Return the rows of `first`, then those of `second`, whose tokens are numbered alike."""
    assert first.kept is second.kept, "all rows are numbered alike"
    return replace(
        first,
        ids=np.concatenate([first.ids, second.ids]),
        types=None
        if first.types is None or second.types is None
        else np.concatenate([first.types, second.types]),
        starts=np.concatenate([first.starts, second.starts + len(first.ids)]),
        lengths=np.concatenate([first.lengths, second.lengths]),
        labels=_stack_rows(first.labels, second.labels, NO_LABEL),
        words=None
        if first.words is None or second.words is None
        else _stack_rows(first.words, second.words, 0),
        truncated=first.truncated + second.truncated,
        unknown=first.unknown + second.unknown,
        whole_lengths=None,
        digests=None,
    )


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
    (rows, longest); `labels`: (rows,) or as `label_array`; `words`: int64 (rows, words), where each
    word has a label.
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
    if encoded.words is not None:
        most = int((inputs["labels"] != NO_LABEL).sum(axis=1).max())
        inputs["labels"], inputs["words"] = inputs["labels"][:, :most], encoded.words[index, :most]
    return {
        name: torch.from_numpy(array if array.dtype == np.float64 else array.astype(np.int64))
        for name, array in inputs.items()
    }


def _tokenize(tokenizer: Any, rows: LabelledRows, has_types: bool, limit: int | None) -> Any:
    """Return the lists of token ids, cut to `limit` tokens (None: whole)."""
    return tokenizer(
        list(rows.texts),
        None if rows.pairs is None else list(rows.pairs),
        return_offsets_mapping=rows.by_word,
        return_attention_mask=False,
        return_token_type_ids=has_types,
        verbose=False,
        truncation=limit is not None,
        max_length=limit,
    )


def _check_words(rows: LabelledRows, tokenizer: Any) -> None:
    if rows.by_word and not tokenizer.is_fast:
        raise ModelError(
            "token classification needs a fast tokenizer, which knows the words of its tokens: "
            "choose a model with a tokenizer.json"
        )


def _words(encoding: Any, rows: LabelledRows, limit: int) -> NDArray[np.int64]:
    """Return the places of all words; raises `DataError` for a row that is too long."""
    for text, offsets in zip(rows.texts, encoding["offset_mapping"], strict=True):
        if len(offsets) > limit:
            raise DataError(
                f"a sentence has {len(offsets)} tokens, {limit} are read: split the one that "
                f"begins with {quote(text[:40])}, or give more --tokens where the model takes them"
            )
    return first_tokens(rows.texts, encoding["offset_mapping"])


def first_tokens(
    texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]]
) -> NDArray[np.int64]:
    """Return the place of each word's first token in its row, int64 (rows, words).

    0 for a word without a token, and after a row's last word: there is what the tokenizer puts
    before a text. `offsets` are the characters of each token, as a tokenizer gives them.
    """
    words = [words_of(text) for text in texts]
    first = np.zeros((len(texts), max(map(len, words))), dtype=np.int64)
    for row, (text, spans) in enumerate(zip(texts, offsets, strict=True)):
        starts = [0, *accumulate(len(word) + 1 for word in words[row])][:-1]
        for place, (start, end) in enumerate(spans):
            begin = start + len(text[start:end]) - len(text[start:end].lstrip(" "))
            word = bisect_right(starts, begin) - 1
            if start < end and not first[row, word]:
                first[row, word] = place
    return first


def _stack_rows(first: NDArray[Any], second: NDArray[Any], fill: int) -> NDArray[Any]:
    """Return the rows of both; the shorter ones are filled up where each word has an entry."""
    if first.ndim == 1 or first.shape[1] == second.shape[1]:
        return np.concatenate([first, second])
    width = max(first.shape[1], second.shape[1])
    padded = (
        np.pad(each, ((0, 0), (0, width - each.shape[1])), constant_values=fill)
        for each in (first, second)
    )
    return np.concatenate(list(padded))


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
            tuple(rows.labels[i] for i in full),
            None if rows.pairs is None else tuple(rows.pairs[i] for i in full),
            rows.by_word,
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


WARN_FROM = 0.05
"""Share of unknown tokens, of equal texts and of cut texts from which there is a warning."""

REFUSE_FROM = 0.5
"""Share of unknown tokens from which a study is refused."""

_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)  # that a warning proposes


@dataclass(frozen=True, slots=True, eq=False)
class Readability:
    """How a tokenizer reads the train and validation texts.

    `unknown` of `tokens` (without special tokens) stand for what it does not know; `equal` of
    `texts` different texts have the same tokens as another, such as the two of `example`, and
    `contradicting` of these have another label than one that is equal; `lengths` are those of the
    rows in tokens, of which `limit` are read, and `longest` could be.
    """

    tokenizer: str
    tokens: int
    unknown: int
    texts: int
    equal: int
    contradicting: int
    example: tuple[str, str] | None
    lengths: NDArray[np.int64]
    limit: int
    longest: int

    @property
    def unknown_share(self) -> float:
        """The share of tokens that are unknown."""
        return self.unknown / max(1, self.tokens)

    @property
    def equal_share(self) -> float:
        """The share of different texts that have the same tokens as another."""
        return self.equal / max(1, self.texts)

    def cut_share(self, limit: int) -> float:
        """Return the share of texts that have more than `limit` tokens."""
        return float((self.lengths > limit).mean()) if len(self.lengths) else 0.0

    @property
    def note(self) -> str:
        """The three shares in one sentence."""
        return (
            f"{self.tokenizer} reads train and validation with {_percent(self.unknown_share)} "
            f"unknown tokens, {_percent(self.equal_share)} of different texts as the same tokens "
            f"as another{self._contradicting}, {_percent(self.cut_share(self.limit))} of texts "
            f"cut off at {self.limit} tokens"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each share that is too large, with what to do."""
        found = []
        if self.unknown_share >= WARN_FROM:
            found.append(f"{self.unknown_problem}: {_ANOTHER_MODEL}")
        if self.equal_share >= WARN_FROM and self.example:
            first, second = map(quote, self.example)
            found.append(
                f"{self.tokenizer} reads {_percent(self.equal_share)} of different texts as the "
                f"same tokens as another, such as {first} and {second}{self._contradicting}: "
                "choose a model whose tokenizer keeps them apart (cased, with accents and vowel "
                "signs)"
            )
        cut = self.cut_share(self.limit)
        if cut >= WARN_FROM and self.limit < self.longest:
            better = [each for each in (*_LENGTHS, self.longest) if self.limit < each]
            better = [min(each, self.longest) for each in better]
            enough = next((n for n in better if self.cut_share(n) < WARN_FROM), self.longest)
            found.append(
                f"{_percent(cut)} of texts have more than {self.limit} tokens for {self.tokenizer} "
                f"and are cut off there: --tokens {enough} cuts {_percent(self.cut_share(enough))}"
            )
        return tuple(found)

    @property
    def unknown_problem(self) -> str:
        """What is wrong where too many tokens are unknown."""
        return (
            f"the tokenizer of {self.tokenizer} does not know {_percent(self.unknown_share)} of "
            "the tokens of the train and validation texts"
        )

    @property
    def _contradicting(self) -> str:
        if not self.contradicting:
            return ""
        return f" ({self.contradicting:,} with different labels, which cannot be learned)"


_ANOTHER_MODEL = "choose a model whose vocabulary is of their language and script"


def refusal(readability: Readability) -> str | None:
    """Return why a study is refused: most tokens are unknown; else None."""
    if readability.unknown_share < REFUSE_FROM:
        return None
    return (
        f"{readability.unknown_problem}: {_ANOTHER_MODEL}, or give --allow-unknown-tokens to go on"
    )


def measure_readability(
    tokenizer: str,
    splits: Sequence[tuple[LabelledRows, EncodedSplit]],
    limit: int,
    longest: int,
) -> Readability:
    """Return how the model named `tokenizer` reads the rows of `splits`."""
    labels: dict[int, dict[RowKey, set[Label]]] = {}  # of each text, by the hash of its tokens
    lengths = []
    for rows, encoded in splits:
        assert encoded.digests is not None, "the rows were tokenized here"
        assert encoded.whole_lengths is not None, "the rows were tokenized here"
        lengths.append(encoded.whole_lengths)
        pairs = rows.pairs or (None,) * len(rows)
        for digest, text, pair, label in zip(
            encoded.digests.tolist(), rows.texts, pairs, rows.labels, strict=True
        ):
            labels.setdefault(digest, {}).setdefault((text, pair), set()).add(label)
    equal = [texts for texts in labels.values() if len(texts) > 1]
    contradicting = [texts for texts in equal if len(set().union(*texts.values())) > 1]
    examples = [_text(key) for texts in (*contradicting, *equal)[:1] for key in texts]
    return Readability(
        tokenizer=tokenizer,
        tokens=sum(len(rows.ids) - rows.special * len(rows) for _, rows in splits),
        unknown=sum(rows.unknown for _, rows in splits),
        texts=sum(map(len, labels.values())),
        equal=sum(map(len, equal)),
        contradicting=sum(map(len, contradicting)),
        example=(examples[0], examples[1]) if examples else None,
        lengths=np.concatenate(lengths),
        limit=limit,
        longest=longest,
    )


def _text(key: RowKey) -> str:
    return key[0] if key[1] is None else f"{key[0]} / {key[1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
