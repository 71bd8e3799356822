"""Unknown tokens, texts of equal tokens, and texts that are cut off."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from autoprune.tasks.task import LabelledRows
from autoprune.tasks.tokenization import encode, measure_readability, refusal


def read(tokenizer, train, validation=((), ()), tokens=16, longest=512, pairs=None):
    parts = (LabelledRows(*map(tuple, train), pairs), LabelledRows(*map(tuple, validation)))
    splits = [(rows, encode(rows, tokenizer, tokens)) for rows in parts if len(rows)]
    return measure_readability("my-model", splits, tokens, longest)


def test_readable_texts_give_a_note_and_no_warning(tokenizer):
    found = read(tokenizer, (["w1 w2", "w3"], [0, 1]), (["w4"], [0]))
    assert (found.tokens, found.unknown, found.texts, found.equal) == (4, 0, 3, 0)
    assert found.note == (
        "my-model reads train and validation with 0.0 % unknown tokens, 0.0 % of different texts "
        "as the same tokens as another, 0.0 % of texts cut off at 16 tokens"
    )
    assert (found.warnings, refusal(found)) == ((), None)


@pytest.mark.parametrize(
    ("unknown", "warned", "refused"), [(4, 0, False), (5, 1, False), (49, 1, False), (50, 1, True)]
)
def test_unknown_tokens_are_warned_of_from_5_percent_and_refused_from_50(
    tokenizer, unknown, warned, refused
):
    words = [f"w{i % 50}" if i >= unknown else f"x{i}" for i in range(100)]
    rows = [" ".join(words[i : i + 10]) for i in range(0, 100, 10)]
    found = read(tokenizer, (rows[:8], range(8)), (rows[8:], [0, 0]))
    assert found.unknown_share == unknown / 100
    assert len([line for line in found.warnings if "does not know" in line]) == warned
    assert (refusal(found) is not None) == refused
    if refused:
        assert refusal(found) == (
            "the tokenizer of my-model does not know 50.0 % of the tokens of the train and "
            "validation texts: choose a model whose vocabulary is of their language and script, or "
            "give --allow-unknown-tokens to go on"
        )


def test_different_texts_of_equal_tokens_are_counted_over_both_splits(tokenizer):
    train = (["w1 x", "w1 y", "w2", "w3"], [0, 0, 1, 2])
    found = read(tokenizer, train, (["w3  ", "w1 z", "w4", "w2"], [2, 1, 0, 1]))
    assert (found.texts, found.equal) == (7, 5)  # w1 x, w1 y, w1 z; w3 twice; w2 is one text
    assert (found.contradicting, found.example) == (3, ("w1 x", "w1 y"))
    [line] = [line for line in found.warnings if "same tokens" in line]
    assert "such as 'w1 x' and 'w1 y' (3 with different labels, which cannot be learned)" in line
    assert "(3 with different labels" in found.note


def test_second_texts_count_as_part_of_the_text(tokenizer):
    rows = (["w1", "w1", "w1 w2"], [0, 1, 0])
    found = read(tokenizer, rows, pairs=("w2 w3", "w2 x", "w3"))
    assert (found.texts, found.equal) == (3, 0)


def test_texts_that_differ_after_the_cut_are_not_equal(tokenizer):
    words = " ".join(f"w{i}" for i in range(12))
    found = read(tokenizer, ([f"{words} w20", f"{words} w21", "w1"], [0, 1, 0]), tokens=8)
    assert found.equal == 0
    assert found.cut_share(8) == 2 / 3


def test_cut_texts_are_warned_of_with_a_length_that_reads_them(tokenizer):
    texts = [*("w1 " * 70, "w1 " * 200), *["w1"] * 18]
    found = read(tokenizer, (texts, [0] * 20), tokens=16)
    [line] = found.warnings
    assert line == (
        "10.0 % of texts have more than 16 tokens for my-model and are cut off there: --tokens 256 "
        "cuts 0.0 %"
    )
    assert "10.0 % of texts cut off at 16 tokens" in found.note
    assert "--tokens 80 cuts 5.0 %" in read(tokenizer, (texts, [0] * 20), longest=80).warnings[0]
    assert read(tokenizer, (texts, [0] * 20), longest=16).warnings == ()  # it takes no more


def test_vowel_signs_that_are_stripped_make_different_words_equal():
    vocabulary = {"[UNK]": 0, "[PAD]": 1, "पर": 2, "पूर": 3, "पुर": 4}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]"
    )
    found = read(tokenizer, (["पूर", "पुर"], [0, 1]))
    assert (found.unknown, found.equal, found.contradicting) == (0, 2, 2)
    backend.normalizer = normalizers.NFC()
    cased = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    assert read(cased, (["पूर", "पुर"], [0, 1])).equal == 0


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: i for i, char in enumerate([*alphabet, "<|end|>", "<pad>"])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


@pytest.mark.parametrize("names", [{}, dict.fromkeys(("unk_token", "eos_token"), "<|end|>")])
def test_tokenizers_that_know_every_byte_have_no_unknown_tokens(names):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), pad_token="<pad>", **names)
    found = read(tokenizer, (["पूर <|end|>", "पुर"], [0, 1]))
    assert (found.unknown, found.equal, refusal(found)) == (0, 0, None)
