"""Pre-training data: the tokenizer, and text files as one stream of tokens, in blocks, masked.

Each text ends with [SEP]. A block is [CLS] and the next tokens of the stream, without padding, so
it may hold the end of one text and the start of others. All tokens of a block attend to each
other, also across texts, as in RoBERTa's full sentences across documents (arXiv 1907.11692).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    Encoding,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.trainers import WordPieceTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autoprune.encoders.config import UNREADABLE
from autoprune.errors import DataError, ModelError, first_line
from autoprune.tasks.text_lines import read_corpus

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

LONGEST_INPUT = 512  # tokens

_MAX_ALPHABET = 1000  # characters that get a token of their own

HELD_OUT_TEXTS = 0.01  # share of the distinct texts that is never trained on

MASKED_SHARE = 0.2  # share of the words that is masked

_MASK_TOKEN, _RANDOM_TOKEN = 0.8, 0.1  # shares of the masked words; the others stay as they are

_DIGESTS = 1 << 64  # number of possible digests

_ENCODED_TOGETHER = 1000  # texts

_WORD_MARKS = ("▁", "Ġ")  # of SentencePiece and of byte-level BPE

_MARKED_SHARE = 0.01  # share of the tokens with a mark from which on it is taken for one

_LONGEST_WORD = 10  # marked tokens: a script without spaces has none between its words


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text files that were read once and checked.

    A text is held out if its digest is at most `last_held_out`, so equal texts stay together.
    """

    paths: tuple[Path, ...]
    fingerprint: str
    texts: int
    last_held_out: int


def scan_corpus(paths: Sequence[Path]) -> Corpus:
    """Read all files once and check them. Raises `DataError` that names the file and line."""
    content = hashlib.sha256()
    texts, lowest, highest = 0, _DIGESTS, 0
    for path in paths:
        before = texts
        for text in _read_texts(path):
            texts += 1
            content.update(text.encode() + b"\n")
            digest = _digest(text)
            lowest, highest = min(lowest, digest), max(highest, digest)
        if texts == before:
            raise DataError(f"a corpus is a text file with one text per line, {path} has none")
    if lowest == highest:
        raise DataError(
            "a corpus needs at least two different texts, one for training and one that is held "
            f"out: {paths[0]} has one"
        )
    # In a small corpus the lowest digest may lie above the share: that text is held out then. If
    # all digests lie below it, the highest is trained on.
    last = min(max(int(HELD_OUT_TEXTS * _DIGESTS), lowest), highest - 1)
    return Corpus(tuple(paths), f"sha256:{content.hexdigest()[:32]}", texts, last)


def read_texts(corpus: Corpus, held_out: bool) -> Iterator[str]:
    """Yield the held-out texts, or all others, in the order of the files."""
    for path in corpus.paths:
        for text in _read_texts(path):
            if (_digest(text) <= corpus.last_held_out) == held_out:
                yield text


def _read_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a file, with each run of spaces as one space."""
    for text in read_corpus(path):
        yield " ".join(text.split())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True, eq=False)
class TokenStream:
    """The tokens of all texts in a row; `word_starts` marks those that begin a word."""

    tokens: NDArray[np.uint32]
    word_starts: NDArray[np.bool_]


def write_stream(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the stream of `texts` as two files, `path` with the suffixes `.tokens`, `.begins`."""
    rest, marked = iter(texts), _marked_tokens(tokenizer)
    with (
        path.with_suffix(".tokens").open("wb") as tokens,
        path.with_suffix(".begins").open("wb") as word_starts,
    ):
        while batch := list(islice(rest, _ENCODED_TOGETHER)):
            encoded = tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
            for text in encoded:
                starts = _word_starts(text, marked)
                tokens.write(np.array([*text.ids, tokenizer.sep_token_id], "<u4").tobytes())
                word_starts.write(np.array([*starts, True], "?").tobytes())


def _marked_tokens(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """Return the tokens that begin a word by their mark; none where words are told otherwise."""
    vocabulary = tokenizer.get_vocab()
    for mark in _WORD_MARKS:
        marked = {number for token, number in vocabulary.items() if token.startswith(mark)}
        if len(marked) > _MARKED_SHARE * len(vocabulary):
            return marked
    return set()


def _word_starts(text: Encoding, marked: set[int]) -> list[bool]:
    """Return for each token of a text whether it begins a word.

    Without marks (WordPiece) a word is what the tokenizer splits before it makes tokens. With marks
    that is not so: it may be the whole text, or end at each vowel sign.
    """
    if not marked:
        words = text.word_ids
        return [word != last for word, last in zip(words, [None, *words], strict=False)]
    starts, length = [], _LONGEST_WORD
    for token in text.ids:
        length = 1 if token in marked or length == _LONGEST_WORD else length + 1
        starts.append(length == 1)
    return starts


def read_stream(path: Path) -> TokenStream:
    """Map the files that `write_stream` wrote into memory."""
    return TokenStream(
        tokens=np.memmap(path.with_suffix(".tokens"), "<u4", "r"),
        word_starts=np.memmap(path.with_suffix(".begins"), "?", "r"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class TokenKinds:
    """The tokens of a vocabulary by use.

    `mask` is the number of [MASK], `special` is a flag for each token, (tokens,): these are neither
    masked nor put in the place of another.
    """

    mask: int
    special: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TokenBlocks:
    """A stream as blocks of `length` tokens, of which the first is `cls`, the number of [CLS]."""

    stream: TokenStream
    length: int
    cls: int
    kinds: TokenKinds

    def __len__(self) -> int:
        """Return how many blocks one pass over the stream takes."""
        return -(-len(self.stream.tokens) // (self.length - 1))

    def cut(
        self, numbers: NDArray[np.int64], offset: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return tokens and word starts of the blocks `numbers`, each (blocks, length).

        Block 0 begins `offset` tokens into the stream. The last block is filled up from the
        beginning of the stream.
        """
        index = offset + numbers[:, None] * (self.length - 1) + np.arange(self.length - 1)
        index %= len(self.stream.tokens)
        tokens = np.full((len(numbers), self.length), self.cls, dtype=np.int64)
        word_starts = np.ones((len(numbers), self.length), dtype=np.bool_)
        tokens[:, 1:] = self.stream.tokens[index]
        word_starts[:, 1:] = self.stream.word_starts[index]
        word_starts[:, 1] = True  # the model does not see the start of a word that is cut
        return tokens, word_starts


def batch_for_step(
    blocks: TokenBlocks, step: int, size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return tokens and word starts of the batch of a step, each (size, length).

    The steps of one pass take each block once. Each pass has its own order, and cuts the stream
    at other places. The batch depends on the arguments alone, so a resumed run needs no state.
    """
    numbers = np.arange(step * size, (step + 1) * size)
    passes, within = np.divmod(numbers, len(blocks))
    parts = []
    for number in np.unique(passes):
        order, offset = _shuffle(len(blocks), blocks.length, seed, int(number))
        parts.append(blocks.cut(order[within[passes == number]], offset))
    tokens, word_starts = zip(*parts, strict=True)
    return np.concatenate(tokens), np.concatenate(word_starts)


@lru_cache(maxsize=2)
def _shuffle(blocks: int, length: int, seed: int, number: int) -> tuple[NDArray[np.int64], int]:
    """Return the order of the blocks in pass `number`, and the offset of its first block."""
    rng = np.random.default_rng([seed, number])
    return rng.permutation(blocks), int(rng.integers(length - 1))


def mask_tokens(
    tokens: NDArray[np.int64],
    word_starts: NDArray[np.bool_],
    kinds: TokenKinds,
    rng: np.random.Generator,
    share: float = MASKED_SHARE,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Mask whole words. Return the model's input and which tokens are masked, (blocks, length).

    Each word is masked with probability `share`, special tokens never.
    """
    positions = np.arange(tokens.shape[1])
    start = np.maximum.accumulate(np.where(word_starts, positions, 0), axis=1)
    drawn = np.take_along_axis(rng.random(tokens.shape), start, axis=1)  # one number per word
    masked = (drawn < share) & ~kinds.special[tokens]
    choice = rng.random(tokens.shape)
    random_tokens = rng.choice(np.flatnonzero(~kinds.special), tokens.shape)
    inputs = np.where(masked & (choice < _MASK_TOKEN), kinds.mask, tokens)
    return np.where(masked & (choice >= 1 - _RANDOM_TOKEN), random_tokens, inputs), masked


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer with at most `size` tokens, BERT's special tokens included.

    Texts are changed to NFC and lower case. BERT's own normalizer would take the vowel signs of
    Marathi for accents and remove them. The library breaks ties between tokens at random and takes
    no seed.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=size,
        # A character may also get a token inside a word; all of them count against `size`.
        limit_alphabet=max(1, min(_MAX_ALPHABET, (size - len(SPECIAL)) // 4)),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LONGEST_INPUT,
    )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer in `folder`. Raises `ModelError` where it does not fit pre-training."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except UNREADABLE as error:
        raise ModelError(f"cannot read a tokenizer in {folder}: {first_line(error)}") from error
    return check_tokenizer(tokenizer, str(folder))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerFast:
    """Return `tokenizer` if it is a fast one with all special tokens. Raises `ModelError`."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"pre-training needs a fast tokenizer (tokenizer.json), {name} has none: "
            "name another model"
        )
    for kind in ("pad", "unk", "cls", "sep", "mask"):
        if getattr(tokenizer, f"{kind}_token_id") is None:
            raise ModelError(
                f"pre-training needs a {kind} token, the tokenizer of {name} has none: name "
                "another model"
            )
    return tokenizer
