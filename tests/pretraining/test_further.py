"""Training a given encoder further: its head, its embeddings, and the families it may be of."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_masked_model
from autoprune.encoders.registry import Encoder
from autoprune.errors import ModelError
from autoprune.pretraining.model import keep_token_rows_, masked_loss_sum, restore_token_rows_
from autoprune.pretraining.training import _loss_sum
from tiny_models import FAMILIES, MORE_FAMILIES, save_model, tiny_tokenizer

KEPT = np.array([0, 1, 2, 3, 4, 6, 7, 9, 11])  # token numbers up to the padding's stay


def open_checkpoint(folder):
    return read_checkpoint(Encoder("tiny", str(folder)), folder)


@pytest.fixture(scope="module", params=[*FAMILIES, *MORE_FAMILIES])
def checkpoint(request, tmp_path_factory):
    return open_checkpoint(save_model(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def headless(tmp_path_factory):
    """Return a BERT without a head, as e5 models are."""
    folder = save_model("bert", tmp_path_factory.mktemp("whole"))
    bare = tmp_path_factory.mktemp("headless")
    AutoModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(bare)
    tiny_tokenizer().save_pretrained(bare)
    return bare


def draw_masked(seed=0):
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.choice(KEPT[4:], (3, 12)))
    positions = torch.tensor([1, 5, 30])
    return inputs, positions, torch.from_numpy(rng.choice(KEPT[5:], 3))


def test_loss_of_any_family_is_that_of_its_own_head(checkpoint):
    model, is_new = load_masked_model(checkpoint, 0)
    assert not is_new
    inputs, positions, labels = draw_masked()
    whole = AutoModelForMaskedLM.from_pretrained(checkpoint.folder).eval()
    logits = whole(input_ids=inputs).logits.flatten(0, 1)[positions]
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    places = np.zeros((3, 12), dtype=bool)
    places.flat[positions] = True
    blocks = inputs.numpy(), places, np.zeros((3, 12), dtype=np.int64)
    blocks[2].flat[positions] = labels
    rounded = _loss_sum(model.eval(), *blocks, bfloat16=True)  # where the family allows it
    assert rounded.item() == pytest.approx(expected.item(), rel=0.05)
    loss = masked_loss_sum(model, inputs, positions, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_kept_token_rows_give_the_logits_of_these_tokens_and_are_restored(checkpoint):
    model, _ = load_masked_model(checkpoint, 0)
    whole, _ = load_masked_model(checkpoint, 0)
    inputs, positions, _ = draw_masked()
    row = {token: number for number, token in enumerate(KEPT)}
    rows = torch.tensor([[row[int(token)] for token in block] for block in inputs])
    expected = model(input_ids=inputs).logits[..., torch.from_numpy(KEPT)]
    keep_token_rows_(model, KEPT)
    torch.testing.assert_close(model(input_ids=rows).logits, expected, rtol=1e-5, atol=1e-5)
    table, output = model.get_input_embeddings(), model.get_output_embeddings()
    tied = whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    assert (output.weight is table.weight) == tied
    assert len(table.weight) == len(KEPT)
    masked_loss_sum(model, rows, positions, torch.tensor([5, 6, 7])).backward()
    before = whole.get_input_embeddings().weight.detach().clone()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1
    restore_token_rows_(whole, model, KEPT)
    changed = (whole.get_input_embeddings().weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == KEPT.tolist()


def test_new_head_is_tied_and_depends_on_the_seed_alone(headless):
    model, is_new = load_masked_model(open_checkpoint(headless), 1)
    same, other = (load_masked_model(open_checkpoint(headless), seed)[0] for seed in (1, 2))
    assert is_new
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    weights = [each.cls.predictions.transform.dense.weight for each in (model, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    encoder = AutoModel.from_pretrained(headless)
    assert torch.equal(
        model.bert.encoder.layer[3].output.dense.weight,
        encoder.encoder.layer[3].output.dense.weight,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_classifier_of_any_family_gets_a_head_and_keeps_its_encoder(family, tmp_path):
    """As an export is one."""
    source = save_model(family, tmp_path / "source")
    classifier = AutoModelForSequenceClassification.from_pretrained(source, num_labels=3)
    classifier.save_pretrained(tmp_path / "classifier")
    tiny_tokenizer().save_pretrained(tmp_path / "classifier")
    model, is_new = load_masked_model(open_checkpoint(tmp_path / "classifier"), 0)
    assert is_new
    trained = dict(classifier.base_model.named_parameters())
    for name, weight in model.base_model.named_parameters():
        assert torch.equal(weight, trained[name]), name


def test_new_head_is_tied_where_the_config_does_not_tie(headless, tmp_path):
    model = AutoModel.from_pretrained(headless, add_pooling_layer=False)
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model, _ = load_masked_model(open_checkpoint(tmp_path), 0)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.tie_word_embeddings


def test_own_untied_head_is_kept_as_it_is(tmp_path):
    folder = save_model("bert", tmp_path, tie_word_embeddings=False)
    model, is_new = load_masked_model(open_checkpoint(folder), 0)
    whole = AutoModelForMaskedLM.from_pretrained(folder)
    assert not is_new
    assert torch.equal(model.get_output_embeddings().weight, whole.get_output_embeddings().weight)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight


def test_encoder_weights_that_are_missing_are_refused(headless, tmp_path):
    model = AutoModel.from_pretrained(headless, add_pooling_layer=False)
    del model.encoder.layer[2].output.dense.bias
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"1 are missing .*layer\.2\.output\.dense\.bias"):
        load_masked_model(open_checkpoint(tmp_path), 0)
