"""The model that is pre-trained: its loss, its first embeddings, and that transformers loads it."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from autoprune.errors import OptionError
from autoprune.pretraining.config import encoder_shape
from autoprune.pretraining.data import TokenStream
from autoprune.pretraining.model import (
    build_encoder,
    cooccurrence_counts,
    embedding_factors,
    masked_loss_sum,
    warm_start_,
)
from tiny_models import jitter_


@pytest.fixture
def model(prepared, shape):
    return build_encoder(shape, prepared.tokenizer, 0)


def test_loss_is_that_of_the_masked_positions(prepared, model):
    jitter_(model)
    inputs = torch.randint(5, len(prepared.tokenizer), (3, 16))
    positions = torch.tensor([1, 5, 40])
    tokens = torch.tensor([7, 8, 9])
    labels = torch.full((48,), -100)
    labels[positions] = tokens
    expected = model(input_ids=inputs, labels=labels.view(3, 16)).loss
    torch.testing.assert_close(masked_loss_sum(model, inputs, positions, tokens) / 3, expected)


def test_warm_start_puts_tokens_with_the_same_neighbours_near_each_other(prepared, model):
    pairs = np.array([[10, 20], [11, 20], [30, 21], [31, 21]], dtype=np.uint32)
    rng = np.random.default_rng(0)
    tokens = np.insert(pairs[rng.integers(0, 4, 400)], 2, 3, axis=1).ravel()
    tokens = np.repeat(tokens.reshape(-1, 3), [1, 1, 5], axis=1).ravel()  # [SEP]s between them
    stream = TokenStream(tokens, np.ones(len(tokens), dtype=bool))
    before = model.get_input_embeddings().weight.detach().clone()
    warm_start_(model, stream, prepared.tokenizer.all_special_ids, 0)
    weights = model.get_input_embeddings().weight.detach()
    similarity = torch.nn.functional.cosine_similarity
    assert similarity(weights[10], weights[11], dim=0) > 0.9
    assert similarity(weights[10], weights[30], dim=0) < 0.9
    changed = (weights != before).any(1).nonzero().flatten().tolist()
    assert changed == [10, 11, 20, 21, 30, 31]
    assert weights[changed].std() == pytest.approx(model.config.initializer_range, rel=0.05)
    counts = cooccurrence_counts(stream, 50, [3]).toarray()
    assert counts[10, 20] == counts[20, 10] == (tokens == 10).sum()
    assert counts[3].sum() == 0


def test_warm_start_from_texts_of_one_token_keeps_random_embeddings(prepared, model):
    before = model.get_input_embeddings().weight.detach().clone()
    stream = TokenStream(np.array([9, 3] * 9, dtype=np.uint32), np.ones(18, dtype=bool))
    special = prepared.tokenizer.all_special_ids
    warm_start_(model, stream, special, 0)
    counts = cooccurrence_counts(stream, len(before), special)
    assert counts[9, 9] > 0  # [SEP] takes a place in the window, but does not end it
    assert torch.equal(model.get_input_embeddings().weight, before)


def test_embedding_factors_rebuild_a_matrix_of_low_rank(prepared):
    counts = cooccurrence_counts(prepared.train.stream, len(prepared.tokenizer), [0, 1, 2, 3, 4])
    factors = embedding_factors(counts, 400, 0)
    assert factors.shape == (len(prepared.tokenizer), 400)
    assert np.array_equal(factors, embedding_factors(counts, 400, 0))
    assert not factors[:, len(prepared.tokenizer) :].any()
    token = counts.toarray().sum(1)
    context = token**0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts.toarray() * context.sum() / np.outer(token, context))
    expected = np.linalg.svd(np.maximum(np.nan_to_num(information, neginf=0), 0))[1]
    values = (factors.astype(float) ** 2).sum(0)[: len(expected)]
    np.testing.assert_allclose(values, expected, atol=1e-4 * expected[0])


def test_saved_model_has_the_same_logits_in_transformers(prepared, model, tmp_path):
    jitter_(model)
    model.save_pretrained(tmp_path)
    prepared.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    loaded, report = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is BertForMaskedLM
    assert not report["missing_keys"] and not report["unexpected_keys"]
    _, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert all(key.startswith("pooler.") for key in report["missing_keys"])
    rows = tokenizer(["एक दोन", "तीन"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**rows).logits, model.eval()(**rows).logits, rtol=0, atol=1e-6
        )
    assert loaded.config.hidden_dropout_prob == 0.1


def test_shape_with_heads_that_do_not_divide_the_width_is_refused():
    with pytest.raises(OptionError, match="multiple of --heads, got 16 and 3"):
        encoder_shape(1, 16, 3, None, 16)
