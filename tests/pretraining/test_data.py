"""Pre-training data: which texts are held out, how the stream is cut, and what is masked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from autoprune.errors import DataError
from autoprune.pretraining.data import (
    TokenBlocks,
    TokenKinds,
    TokenStream,
    batch_for_step,
    mask_tokens,
    read_stream,
    read_texts,
    scan_corpus,
    write_stream,
)
from tiny_models import NUMBERS

KINDS = TokenKinds(4, np.arange(50) < 5)
CLS = 2


def draw_blocks(seed, blocks=64, length=32):
    """Draw blocks that begin with [CLS] and hold some [SEP], and words of 1 to 4 tokens."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, 50, (blocks, length))
    tokens[rng.random(tokens.shape) < 0.05] = 3
    tokens[:, 0] = CLS
    word_starts = rng.random(tokens.shape) < 0.5
    word_starts |= (tokens < 5) | (np.roll(tokens, 1, axis=1) < 5)
    return tokens, word_starts


def numbered_blocks(tokens, length, word_starts=True):
    """Return blocks of a stream in which each token occurs once."""
    stream = TokenStream(np.arange(5, 5 + tokens, dtype=np.uint32), np.full(tokens, word_starts))
    return TokenBlocks(stream, length, CLS, KINDS)


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
@settings(max_examples=30, deadline=None)
def test_masking_masks_whole_words(seed, share):
    tokens, word_starts = draw_blocks(seed)
    inputs, masked = mask_tokens(tokens, word_starts, KINDS, np.random.default_rng(seed), share)
    for row in range(len(tokens)):
        for word in np.split(masked[row], np.flatnonzero(word_starts[row])):
            assert word.all() or not word.any()
    assert not masked[tokens < 5].any()
    assert (inputs[~masked] == tokens[~masked]).all()
    words = word_starts & (tokens >= 5)
    error = 4 * (share * (1 - share) / words.sum()) ** 0.5
    assert abs(masked[words].mean() - share) < error


def test_masking_replaces_most_by_mask_and_some_by_random_tokens():
    tokens, word_starts = draw_blocks(1, blocks=2000)
    inputs, masked = mask_tokens(tokens, word_starts, KINDS, np.random.default_rng(1), 0.2)
    after, before = inputs[masked], tokens[masked]
    assert (after == 4).mean() == pytest.approx(0.8, abs=0.02)
    # Of those replaced by one of 45 random tokens, one in 45 is the same as before.
    assert (after == before).mean() == pytest.approx(0.1 + 0.1 / 45, abs=0.02)
    assert set(after[after != before]) == {4, *range(5, 50)}


@given(st.integers(1, 300), st.integers(3, 40), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_batches_of_one_pass_take_each_token_and_at_most_a_block_twice(count, length, size, seed):
    blocks = numbered_blocks(count, length)
    steps = -(-2 * len(blocks) // size)
    tokens = np.concatenate([batch_for_step(blocks, step, size, seed)[0] for step in range(steps)])
    for number in (0, 1):
        in_pass = tokens[number * len(blocks) : (number + 1) * len(blocks)]
        assert (in_pass[:, 0] == CLS).all()
        seen = np.bincount(in_pass[:, 1:].ravel() - 5, minlength=count)
        assert seen.min() >= 1
        assert seen.sum() - count < length - 1


def test_batches_of_two_passes_differ_in_order_and_cuts():
    blocks = numbered_blocks(500, 11)
    first, second = (batch_for_step(blocks, step, len(blocks), 0)[0] for step in (0, 1))
    assert {tuple(row) for row in first}.isdisjoint(map(tuple, second))
    assert (batch_for_step(blocks, 1, len(blocks), 0)[0] == second).all()
    for tokens in (first, second):
        assert len(set(np.diff(tokens[:, 1]) % 500)) > 2  # in the order of the stream: one


def test_block_treats_the_rest_of_a_cut_word_as_a_word():
    _, word_starts = numbered_blocks(10, 5, word_starts=False).cut(np.array([0, 1]), 1)
    assert word_starts.tolist() == [[True, True, False, False, False]] * 2


def decode(prepared, blocks):
    """Return the texts of a stream, in the tokenizer's normal form."""
    text = prepared.tokenizer.decode(blocks.stream.tokens.tolist())
    return [part.strip() for part in text.split("[SEP]")][:-1]


def test_corpus_held_out_texts_are_never_trained_on(corpus_file, prepared):
    corpus = scan_corpus([corpus_file])
    train, held_out = (list(read_texts(corpus, flag)) for flag in (False, True))
    assert corpus.texts == len(train) + len(held_out) == 401
    assert 1 <= len(set(held_out)) < 20
    assert set(train).isdisjoint(held_out)
    assert decode(prepared, prepared.train) == train
    assert decode(prepared, prepared.held_out) == held_out


@pytest.mark.parametrize("count", [2, 3, 10])
def test_corpus_of_few_texts_is_split(count, tmp_path):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(NUMBERS[:count]), encoding="utf-8")
    corpus = scan_corpus([path])
    train, held_out = (list(read_texts(corpus, flag)) for flag in (False, True))
    assert sorted([*train, *held_out]) == sorted(NUMBERS[:count])
    assert train and held_out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param(b"", "has none", id="empty"),
        pytest.param(b"\n \n", "has none", id="blank"),
        pytest.param("एक\nदोन\n".encode() + b"caf\xe9\n", "line 3 is not (byte 4)", id="not UTF-8"),
        pytest.param(b"one\ntwo\0three\n", "line 2 has control characters", id="binary"),
        pytest.param(b"one\none\n", "two different texts", id="one text"),
        pytest.param(
            b"one\n" + b"x" * (1 << 20) + b"\n", "line 2 is over 1 MiB", id="a line too long"
        ),
    ],
)
def test_corpus_that_is_no_text_is_refused(content, message, tmp_path):
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        scan_corpus([path])
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_tokenizer_keeps_vowel_signs_and_lowers_case(prepared):
    tokenizer = prepared.tokenizer
    assert tokenizer.decode(tokenizer("दोन पाच")["input_ids"]) == "[CLS] दोन पाच [SEP]"
    assert tokenizer.backend_tokenizer.normalizer.normalize_str("É Ab") == "é ab"
    assert len(tokenizer) <= 150


def test_stream_marks_the_first_token_of_each_word(prepared, tmp_path):
    write_stream(["एक 12345", "दोन"], prepared.tokenizer, tmp_path / "two")
    stream = read_stream(tmp_path / "two")
    pieces = prepared.tokenizer.convert_ids_to_tokens(stream.tokens.tolist())
    assert stream.word_starts.tolist() == [not piece.startswith("##") for piece in pieces]
    assert pieces.count("[SEP]") == 2
    assert any(piece.startswith("##") for piece in pieces)


def marked_tokenizer(mark, pre_tokenizer, normalizer=None):
    """Return a tokenizer of letters and of two-letter pieces, with `mark` before a word."""
    letters = [*"abcxyz,", mark, f"{mark}a", f"{mark}b", f"{mark}x", "bc", "yz"]
    vocabulary = {token: number for number, token in enumerate(["[SEP]", "[UNK]", *letters])}
    merges = [(mark, "a"), (mark, "b"), (mark, "x"), ("b", "c"), ("y", "z")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, sep_token="[SEP]", unk_token="[UNK]")


MARKED = {
    # SentencePiece as converted for T5 and XLM-R, and as Llama has it: one word for the library
    "metaspace": ("▁", pre_tokenizers.Metaspace(), None),
    "no pre-tokenizer": (
        "▁",
        None,
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    ),
    # byte-level BPE; this split ends words at each comma, as that of GPT-2 does at vowel signs
    "byte-level": ("Ġ", pre_tokenizers.ByteLevel(add_prefix_space=True), None),
}


@pytest.mark.parametrize("kind", MARKED)
def test_words_of_marked_tokens_begin_at_the_marks(kind, tmp_path):
    tokenizer = marked_tokenizer(*MARKED[kind])
    write_stream(["abc xyz, b", "xa a"], tokenizer, tmp_path / "texts")
    stream = read_stream(tmp_path / "texts")
    mark = MARKED[kind][0]
    expected = [
        *((f"{mark}a", True), ("bc", False), (f"{mark}x", True), ("yz", False), (",", False)),
        *((f"{mark}b", True), ("[SEP]", True)),
        *((f"{mark}x", True), ("a", False), (f"{mark}a", True), ("[SEP]", True)),
    ]
    tokens = tokenizer.convert_ids_to_tokens(stream.tokens.tolist())
    assert list(zip(tokens, stream.word_starts.tolist(), strict=True)) == expected


def test_word_without_marks_ends_after_ten_tokens(tmp_path):
    """As texts of scripts without spaces have no marks between their words."""
    tokenizer = marked_tokenizer(*MARKED["metaspace"])
    write_stream(["a" * 25], tokenizer, tmp_path / "texts")
    starts = read_stream(tmp_path / "texts").word_starts
    assert np.flatnonzero(starts).tolist() == [0, 10, 20, 25]
