"""Loading: the encoder is complete, and the head depends on the seed alone."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM
from transformers import AutoModelForSequenceClassification as Classifier

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import (
    load_classifier,
    load_tokenizer,
    load_trained,
    random_classifier,
)
from autoprune.encoders.profiling import Parameters, count_parameters
from autoprune.encoders.pruning import encoder_layers, head_parameters
from autoprune.encoders.registry import find_encoder
from autoprune.errors import LayoutError, ModelError

NAMES = ["क्रीडा", "राजकारण", "तंत्रज्ञान"]


def weights(model):
    return dict(model.named_parameters())


def differing(model, other):
    assert weights(model).keys() == weights(other).keys()
    return {name for name, w in weights(model).items() if not torch.equal(w, weights(other)[name])}


def test_encoder_of_every_family_comes_from_the_checkpoint(make_model, family):
    folder = make_model(family)
    model = load_classifier(fetch(find_encoder(str(folder))), NAMES, 0)
    source = weights(AutoModelForMaskedLM.from_pretrained(folder).base_model)
    loaded = weights(model.base_model)
    shared = loaded.keys() & source.keys()
    assert all(torch.equal(loaded[name], source[name]) for name in shared)
    assert all("pooler" in name for name in loaded.keys() - shared)
    assert len(shared) > 5 * 6
    assert not model.training


def test_head_and_pooler_depend_on_the_seed_alone(make_model, family):
    checkpoint = fetch(find_encoder(str(make_model(family))))
    torch.manual_seed(1)
    first = load_classifier(checkpoint, NAMES, 3)
    torch.manual_seed(2)
    again = load_classifier(checkpoint, NAMES, 3)
    other = load_classifier(checkpoint, NAMES, 4)
    assert differing(first, again) == set()
    changed = differing(first, other)
    assert changed
    assert changed <= head_parameters(first)


def test_loading_leaves_the_random_state_unchanged(bert, capfd):
    checkpoint = fetch(find_encoder(str(bert)))
    before = torch.get_rng_state()
    load_classifier(checkpoint, NAMES, 3)
    random_classifier(checkpoint, NAMES, 2, 3)
    load_tokenizer(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_labels_are_saved_in_the_config(bert, tmp_path):
    model = load_classifier(fetch(find_encoder(str(bert))), NAMES, 0)
    model.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["id2label"] == {"0": "क्रीडा", "1": "राजकारण", "2": "तंत्रज्ञान"}
    assert config["label2id"] == {"क्रीडा": 0, "राजकारण": 1, "तंत्रज्ञान": 2}
    assert model.num_labels == 3
    assert str(bert) not in json.dumps(config)


def test_half_precision_is_loaded_as_float32(edit_config):
    folder = edit_config(dtype="float16")
    path = folder / "model.safetensors"
    half = {name: weight.half() for name, weight in load_file(path).items()}
    save_file(half, path, metadata={"format": "pt"})
    model = load_classifier(fetch(find_encoder(str(folder))), NAMES, 0)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert random_classifier(fetch(find_encoder(str(folder))), NAMES, 2, 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 7}, r"32 are missing or of another shape .*layer\.5\."),
        ({"num_hidden_layers": 3}, r"no place for 32 of them .*layer\.3\."),
    ],
)
def test_config_that_does_not_fit_the_weights_is_refused(edit_config, fields, message):
    folder = edit_config(**fields)
    with pytest.raises(ModelError, match=message) as raised:
        load_classifier(fetch(find_encoder(str(folder))), NAMES, 0)
    assert "\n" not in str(raised.value)


def test_missing_bias_is_refused(bert):
    path = bert / "model.safetensors"
    kept = load_file(path)
    del kept["bert.encoder.layer.2.output.LayerNorm.bias"]
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing .*layer\.2\.output\.LayerNorm\.bias"):
        load_classifier(fetch(find_encoder(str(bert))), NAMES, 0)


@pytest.fixture
def fine_tuned(bert, tmp_path, jitter):
    model = load_classifier(fetch(find_encoder(str(bert))), NAMES, 0)
    jitter(model)
    model.save_pretrained(tmp_path / "tuned")
    load_tokenizer(fetch(find_encoder(str(bert)))).save_pretrained(tmp_path / "tuned")
    return fetch(find_encoder(str(tmp_path / "tuned"))), model


def test_load_trained_returns_the_trained_weights(fine_tuned):
    checkpoint, model = fine_tuned
    loaded = load_trained(checkpoint)
    assert differing(loaded, model) == set()
    assert list(loaded.config.id2label.values()) == NAMES
    assert not loaded.training


@pytest.mark.parametrize("lost", ["classifier.weight", "bert.pooler.dense.bias"])
def test_load_trained_refuses_a_missing_weight(fine_tuned, lost):
    checkpoint, _ = fine_tuned
    path = checkpoint.folder / "model.safetensors"
    kept = load_file(path)
    del kept[lost]
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"not a complete classifier, 1 of its weights .*{lost}"):
        load_trained(checkpoint)


def test_trained_head_is_drawn_again(make_model, family, tmp_path, jitter):
    """For as many labels too: it would be one and the same on all seeds."""
    plain = fetch(find_encoder(str(make_model(family))))
    model = load_classifier(plain, NAMES, 0)
    jitter(model)
    model.save_pretrained(tmp_path / "tuned")
    load_tokenizer(plain).save_pretrained(tmp_path / "tuned")
    checkpoint = fetch(find_encoder(str(tmp_path / "tuned")))
    first, again, other = (load_classifier(checkpoint, ["x", "y", "z"], s) for s in (3, 3, 4))
    head = {name for name in dict(model.named_parameters()) if name in _outside(model)}
    assert differing(first, again) == set()
    assert differing(first, model) == head  # and nothing of the encoder
    drawn = {name for name in head if dict(model.named_parameters())[name].ndim > 1}
    assert drawn <= differing(first, other) <= head
    fresh = dict(load_classifier(plain, NAMES, 3).named_parameters())
    for name, weight in first.named_parameters():
        if name in drawn:  # drawn as a new head is
            assert float(weight.std()) == pytest.approx(float(fresh[name].std()), rel=0.5)
        elif name in head:
            assert torch.equal(weight, fresh[name])


def _outside(model):
    inside = {id(weight) for weight in model.base_model.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) not in inside}


def test_head_for_other_labels_is_drawn_again(fine_tuned):
    checkpoint, model = fine_tuned
    first, other = (load_classifier(checkpoint, ["x", "y"], seed) for seed in (0, 1))
    assert differing(first, other) == {"classifier.weight"}
    assert torch.equal(first.bert.pooler.dense.weight, model.bert.pooler.dense.weight)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_random_classifier_of_every_family(make_model, family, depth, tmp_path):
    checkpoint = fetch(find_encoder(str(make_model(family))))
    rival = random_classifier(checkpoint, NAMES, depth, 0)
    assert len(encoder_layers(rival)) == rival.config.num_hidden_layers == depth
    assert differing(rival, random_classifier(checkpoint, NAMES, depth, 0)) == set()
    assert differing(rival, random_classifier(checkpoint, NAMES, depth, 1))
    assert not rival.training
    rival.save_pretrained(tmp_path / "rival")
    again, report = Classifier.from_pretrained(tmp_path / "rival", output_loading_info=True)
    assert not any(report.values())
    assert differing(rival, again) == set()


def test_random_classifier_has_no_pretrained_weight(bert):
    checkpoint = fetch(find_encoder(str(bert)))
    pretrained = load_classifier(checkpoint, NAMES, 0)
    rival = random_classifier(checkpoint, NAMES, 5, 0)
    assert differing(rival, pretrained) == set(weights(rival)) - {"classifier.bias"} - {
        "bert.pooler.dense.bias"
    }


@pytest.mark.parametrize("depth", [0, 6])
def test_random_classifier_of_an_impossible_depth_is_refused(bert, depth):
    with pytest.raises(LayoutError, match=f"has 1 to 5 layers, got {depth}"):
        random_classifier(fetch(find_encoder(str(bert))), NAMES, depth, 0)


def test_tokenizer_returns_words_in_order(make_model, family):
    tokenizer = load_tokenizer(fetch(find_encoder(str(make_model(family)))))
    assert tokenizer("एक तीन दोन")["input_ids"] == [2, 5, 7, 6, 3]
    assert tokenizer.is_fast


def test_broken_tokenizer_is_an_error_of_one_line(bert):
    (bert / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match="cannot load the tokenizer of tiny: ") as raised:
        load_tokenizer(fetch(find_encoder(str(bert))))
    assert "\n" not in str(raised.value)


def test_model_without_a_classifier_is_an_error_of_one_line(edit_config):
    folder = edit_config(model_type="vit", image_size=8, patch_size=4)
    with pytest.raises(ModelError, match="cannot load tiny: Unrecognized") as raised:
        load_classifier(fetch(find_encoder(str(folder))), NAMES, 0)
    assert "\n" not in str(raised.value)


def test_parameters_are_counted_once(bert):
    model = load_classifier(fetch(find_encoder(str(bert))), NAMES, 0)
    hidden, inner = 16, 24
    embeddings = (40 + 40 + 2) * hidden
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden
    head = hidden * hidden + hidden + 3 * hidden + 3
    total = embeddings + 2 * hidden + 5 * layer + head
    assert count_parameters(model) == Parameters(total=total, embeddings=embeddings)


def test_tied_tables_count_once(make_model):
    model = AutoModelForMaskedLM.from_pretrained(make_model("bert"))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tables = (40 + 40 + 2) * 16
    assert count_parameters(model).embeddings == tables
    head = 16 * 16 + 16 + 2 * 16 + 40  # without the decoder's weight, which is the token table
    assert count_parameters(model).total == count_parameters(model.base_model).total + head


def test_demo_encoder_loads_and_takes_marathi():
    checkpoint = fetch(find_encoder("demo"))
    assert (checkpoint.depth, checkpoint.encoder.name) == (12, "demo")
    model = load_classifier(checkpoint, NAMES, 0)
    tokens = load_tokenizer(checkpoint)(["पुण्यात आज पाऊस", "नवा मोबाइल"], padding=True)
    assert model.dtype == torch.float32
    with torch.no_grad():
        logits = model(**tokens.convert_to_tensors("pt")).logits  # (2, 3)
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()
    assert "MIT License" in (checkpoint.folder / "LICENSE").read_text()
    assert sum(path.stat().st_size for path in checkpoint.folder.iterdir()) < 45_000_000
