"""Pruning: a pruned model of every family reloads with plain transformers as it was measured."""

import copy

import pytest
import torch
from torch import nn
from transformers import AlbertConfig, AlbertForSequenceClassification, AutoConfig
from transformers import AutoModelForSequenceClassification as Classifier

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.pruning import (
    can_have,
    encoder_layers,
    head_parameters,
    keep_layers,
    required_layers,
)
from autoprune.encoders.registry import Encoder
from autoprune.errors import LayoutError, ModelError
from autoprune.layouts.layout import Layout, all_layouts

NAMES = ["क्रीडा", "राजकारण", "तंत्रज्ञान"]
WITH_LAYER_0 = ["5:0-1", "5:0,4", "5:0,2-3", "5:0", "5:0-4"]
LAYOUTS = [*WITH_LAYER_0, "5:3-4", "5:1-2", "5:2"]
TOKENS = torch.tensor([[2, 5, 9, 14, 3, 0], [2, 7, 6, 5, 8, 3]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])


def load(folder, seed=0):
    return load_classifier(read_checkpoint(Encoder("tiny", str(folder)), folder), NAMES, seed)


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS, attention_mask=MASK).logits


@pytest.fixture
def model(make_model, family, jitter):
    model = load(make_model(family))
    jitter(model)
    return model


def reloads_equal(model, folder):
    expected = logits(model)
    model.save_pretrained(folder)
    again, report = Classifier.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert expected.isfinite().all()
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=1e-6)
    return again


def test_every_layout_of_every_family_reloads_with_equal_logits(model, family, tmp_path):
    full = logits(model)
    for text in {"modernbert": WITH_LAYER_0}.get(family, LAYOUTS):
        layout = Layout.parse(text)
        pruned = copy.deepcopy(model)
        kept = [weights_of(encoder_layers(model)[layer]) for layer in layout.keep]
        keep_layers(pruned, layout)
        again = reloads_equal(pruned, tmp_path / f"keep{len(layout.keep)}-{layout.keep[-1]}")
        assert len(encoder_layers(again)) == again.config.num_hidden_layers == len(layout.keep)
        assert_same_weights([weights_of(layer) for layer in encoder_layers(again)], kept)
        assert torch.equal(logits(again), full) == (len(layout.keep) == 5)
    assert torch.equal(logits(model), full)


def weights_of(layer):
    return {name: weight.clone() for name, weight in layer.state_dict().items()}


def assert_same_weights(found, expected):
    assert len(found) == len(expected)
    for layer, other in zip(found, expected, strict=True):
        assert layer.keys() == other.keys()
        assert all(torch.equal(layer[name], other[name]) for name in other)


def test_full_layout_changes_nothing(model):
    before, config = logits(model), model.config.to_dict()
    keep_layers(model, Layout.full(5))
    assert torch.equal(logits(model), before)
    assert model.config.to_dict() == config


class Identity(nn.Module):
    def forward(self, hidden, *args, **kwargs):
        return hidden


@pytest.mark.parametrize("text", LAYOUTS)
def test_pruned_bert_equals_full_bert_with_identity_for_dropped_layers(make_model, jitter, text):
    model = load(make_model("bert"))
    jitter(model)
    layout = Layout.parse(text)
    skipping = copy.deepcopy(model)
    for layer in set(range(5)) - set(layout.keep):
        skipping.bert.encoder.layer[layer] = Identity()
    keep_layers(model, layout)
    assert torch.equal(logits(model), logits(skipping))


def test_swapped_layers_change_the_logits(make_model, jitter, tmp_path):
    model = load(make_model("bert"))
    jitter(model)
    pruned, swapped = copy.deepcopy(model), copy.deepcopy(model)
    keep_layers(pruned, Layout.parse("5:0,3"))
    keep_layers(swapped, Layout.parse("5:0,3"))
    layers = encoder_layers(swapped)
    layers[0], layers[1] = layers[1], layers[0]
    assert (logits(pruned) - logits(swapped)).abs().max() > 1e-3


def test_layer_indices_are_renumbered(make_model):
    model = load(make_model("bert"))
    keep_layers(model, Layout.parse("5:1,4"))
    numbers = [layer.attention.self.layer_idx for layer in encoder_layers(model)]
    assert numbers == [0, 1]


def test_required_layers_are_those_of_all_layouts_that_a_family_can_have(family, model):
    depth = model.config.num_hidden_layers
    layouts = [layout for layout in all_layouts(depth, 2) if can_have(model, layout)]
    required = required_layers(model)
    assert required == ((0,) if family == "modernbert" else ())
    assert layouts == all_layouts(depth, 2, required)


def test_modernbert_keeps_the_types_of_its_layers(make_model):
    model = load(make_model("modernbert"))
    kinds = model.config.layer_types
    keep_layers(model, Layout.parse("5:0,2-3"))
    assert model.config.layer_types == [kinds[0], kinds[2], kinds[3]]
    assert set(kinds) == {"full_attention", "sliding_attention"}


def test_modernbert_without_layer_0_is_refused_and_unchanged(make_model):
    model = load(make_model("modernbert"))
    with pytest.raises(LayoutError, match="layer 0 of ModernBERT must be kept"):
        keep_layers(model, Layout.parse("5:1-4"))
    assert len(encoder_layers(model)) == 5


def test_albert_is_refused_with_the_reason():
    config = AlbertConfig(
        vocab_size=40,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )
    with pytest.raises(ModelError, match="albert uses the same layer"):
        encoder_layers(AlbertForSequenceClassification(config))


def test_model_with_two_lists_of_layers_is_refused():
    sizes = {"vocab_size": 40, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    inner = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40}
    config = AutoConfig.for_model("bart", **sizes, **heads, **inner)
    with pytest.raises(ModelError, match=r"one list of its 2 layers, bart holds 2"):
        encoder_layers(Classifier.from_config(config))


def test_two_layer_deberta_keeps_its_kinds_of_attention(make_model, tmp_path, jitter):
    model = load(make_model("deberta"))
    jitter(model)
    keep_layers(model, Layout.parse("5:1,4"))
    keep_layers(model, Layout.parse("2:1"))
    assert reloads_equal(model, tmp_path / "twice").config.pos_att_type == ["c2p", "p2c"]


def test_longformer_keeps_the_windows_of_its_layers(jitter, tmp_path):
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "longformer",
        **sizes,
        intermediate_size=24,
        max_position_embeddings=40,
        attention_window=[4, 8, 16],
    )
    model = Classifier.from_config(config)
    jitter(model)
    keep_layers(model, Layout.parse("3:0,2"))
    assert reloads_equal(model, tmp_path / "pruned").config.attention_window == [4, 16]


def test_layout_of_another_depth_is_refused(make_model):
    with pytest.raises(LayoutError, match=r"^layout 6:0-2 is for 6 layers, tiny has 5$"):
        keep_layers(load(make_model("bert")), Layout.parse("6:0-2"))


def test_head_is_all_that_a_pretrained_encoder_lacks(model):
    head = head_parameters(model)
    encoder = {id(p) for p in model.base_model.parameters()}
    outside = {name for name, p in model.named_parameters() if id(p) not in encoder}
    poolers = {name for name, _ in model.named_parameters() if ".pooler." in name}
    assert head == outside | poolers
    assert outside
    assert not any(".0." in name or "embeddings" in name for name in head)


def test_head_of_bert_is_pooler_and_classifier(make_model):
    assert head_parameters(load(make_model("bert"))) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    }
