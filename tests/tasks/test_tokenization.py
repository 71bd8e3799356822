import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprune.errors import ModelError, OptionError
from autoprune.tasks.task import LabelledRows
from autoprune.tasks.tokenization import (
    BATCHES_PER_CHUNK,
    collate,
    encode,
    length_sorted_batches,
    shuffled_batches,
)

ROWS = LabelledRows(("w1 w2 w3", "w4", "w5 w6 w7 w8 w9 unknown"), (1, 0, 2))


def test_encode_returns_ids_without_padding(tokenizer):
    encoded = encode(ROWS, tokenizer, tokens=16)
    assert encoded.ids.tolist() == [1, 5, 6, 7, 2, 1, 8, 2, 1, 9, 10, 11, 12, 13, 3, 2]
    assert encoded.starts.tolist() == [0, 5, 8]
    assert encoded.lengths.tolist() == [5, 3, 8]
    assert encoded.labels.tolist() == [1, 0, 2]
    assert (encoded.pad_id, encoded.truncated, len(encoded)) == (0, 0, 3)


def test_encode_cuts_and_counts_long_rows(tokenizer):
    encoded = encode(ROWS, tokenizer, tokens=5)
    assert encoded.lengths.tolist() == [5, 3, 5]
    assert encoded.ids[-5:].tolist() == [1, 9, 10, 11, 2]
    assert encoded.truncated == 1


def test_encode_respects_the_tokenizers_limit_without_a_warning(tokenizer, caplog, capfd, recwarn):
    rows = LabelledRows((" ".join(["w1"] * 99), " ".join(["w2"] * 14)), (0, 1))
    encoded = encode(rows, tokenizer, tokens=512)
    assert encoded.lengths.tolist() == [16, 16]
    assert encoded.truncated == 1
    assert (caplog.text, *capfd.readouterr(), list(recwarn)) == ("", "", "", [])


def test_encode_gives_pairs_two_types_and_cuts_the_longer_text(tokenizer):
    rows = LabelledRows(("w1 w2", "w3"), (0, 1), ("w4", "w5 w6 w7 w8"))
    encoded = encode(rows, tokenizer, tokens=7)
    batch = collate(encoded, np.array([1, 0]))
    assert batch["input_ids"].tolist() == [[1, 7, 2, 9, 10, 11, 2], [1, 5, 6, 2, 8, 2, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0]]
    assert encoded.truncated == 1


def test_collate_equals_the_tokenizers_own_batch(tokenizer):
    encoded = encode(ROWS, tokenizer, tokens=6)
    expected = tokenizer(
        list(ROWS.texts), truncation=True, max_length=6, padding=True, return_tensors="pt"
    )
    batch = collate(encoded, np.arange(3))
    assert torch.equal(batch.pop("labels"), torch.tensor([1, 0, 2]))
    assert batch.keys() == expected.keys()
    for name, tensor in batch.items():
        assert tensor.dtype == torch.int64
        assert torch.equal(tensor, expected[name])


def test_collate_pads_to_the_longest_row(tokenizer):
    encoded = encode(ROWS, tokenizer, tokens=16)
    assert collate(encoded, np.array([1, 0]))["input_ids"].shape == (2, 5)
    assert collate(encoded, np.array([1]))["attention_mask"].tolist() == [[1, 1, 1]]


def test_collate_gives_no_token_types_to_a_model_without_them(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids", "attention_mask"])
    encoded = encode(ROWS, tokenizer, tokens=16)
    assert encoded.types is None
    assert "token_type_ids" not in collate(encoded, np.arange(2))


def test_encode_refuses_impossible_limits_and_tokenizers(tokenizer, monkeypatch):
    with pytest.raises(OptionError, match="tokens must be at least 3 for this tokenizer, got 2"):
        encode(ROWS, tokenizer, tokens=2)
    monkeypatch.setattr(tokenizer, "_special_tokens_map", {})
    with pytest.raises(ModelError, match="must have a padding token"):
        encode(ROWS, tokenizer, tokens=16)


LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=400).map(np.array)


@given(lengths=LENGTHS, batch=st.integers(1, 9), seed=st.integers(0, 9))
def test_shuffled_batches_have_every_row_once(lengths, batch, seed):
    epoch = shuffled_batches(lengths, batch, np.random.default_rng(seed))
    assert sorted(np.concatenate(epoch).tolist()) == list(range(len(lengths)))
    assert sum(len(rows) != batch for rows in epoch) == bool(len(lengths) % batch)
    assert len(epoch) == -(-len(lengths) // batch)


@given(lengths=LENGTHS, batch=st.integers(1, 9))
def test_length_sorted_batches_have_every_row_once_the_longest_first(lengths, batch):
    order = np.concatenate(length_sorted_batches(lengths, batch))
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    assert max(len(rows) for rows in length_sorted_batches(lengths, batch)) <= batch


def test_shuffled_batches_have_similar_lengths_and_change_each_epoch():
    lengths = np.random.default_rng(0).integers(3, 60, size=16 * BATCHES_PER_CHUNK)
    rng = np.random.default_rng(1)
    first, second = shuffled_batches(lengths, 16, rng), shuffled_batches(lengths, 16, rng)
    padded = sum(len(rows) * lengths[rows].max() for rows in first)
    assert padded < 1.05 * lengths.sum()
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in second]
    longest = np.array([lengths[rows].max() for rows in first])
    assert 0.3 < (np.diff(longest) > 0).mean() < 0.7
    again = shuffled_batches(lengths, 16, np.random.default_rng(1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_shuffled_batches_of_equal_lengths_change_each_epoch():
    rng = np.random.default_rng(0)
    epochs = [shuffled_batches(np.full(64, 5), 8, rng) for _ in range(2)]
    first, second = ({frozenset(rows.tolist()) for rows in epoch} for epoch in epochs)
    assert not first & second
