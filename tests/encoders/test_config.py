"""Model config: one that tells of more than the weights hold is refused before memory is used."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_trained
from autoprune.encoders.registry import find_encoder
from autoprune.errors import ModelError

BIG = 10_000_018  # even, as the number of heads demands

SIZES = {
    "bert": (
        *("vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings"),
        *("type_vocab_size", "num_hidden_layers", "num_labels"),
    ),
    "electra": ("embedding_size",),
    "distilbert": ("dim", "hidden_dim", "n_layers", "max_position_embeddings"),
    "deberta": ("pooler_hidden_size", "max_relative_positions"),
    "deberta-v2": ("position_buckets", "conv_kernel_size"),
    "mobilebert": ("num_feedforward_networks", "intra_bottleneck_size"),
    "nomic_bert": ("head_dim", "num_attention_heads"),
    "modernbert": ("intermediate_size", "num_hidden_layers"),
}


@pytest.mark.parametrize(
    ("family", "field"), [(family, field) for family, names in SIZES.items() for field in names]
)
def test_config_larger_than_its_weights_is_refused_without_memory(
    make_model, tmp_path, family, field
):
    folder = shutil.copytree(make_model(family), tmp_path / "tiny")
    path = folder / "config.json"
    fetch(find_encoder(str(folder)))
    path.write_text(json.dumps({**json.loads(path.read_text()), field: BIG}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as raised:
        fetch(find_encoder(str(folder)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    line = str(raised.value)
    assert "\n" not in line
    assert str(path) in line
    assert field in line
    assert str(BIG) in line


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        ("bert", {"intermediate_size": 32}, "by intermediate_size 32 bert.encoder.layer.0.inter"),
        ("bert", {"vocab_size": 50}, "by vocab_size 50 .*would be 50 × 16, it is 40 × 16"),
        ("bert", {"hidden_size": 22}, "by hidden_size 22 .*would be 40 × 22, it is 40 × 16"),
        ("roberta", {"max_position_embeddings": 41}, "by max_position_embeddings 41 "),
        ("modernbert", {"intermediate_size": 25}, "by intermediate_size 25 .*would be 50 × 16"),
    ],
)
def test_config_of_another_size_is_refused_by_the_name_of_the_field(
    make_model, tmp_path, family, fields, message
):
    folder = shutil.copytree(make_model(family), tmp_path / "tiny")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(ModelError, match=message) as raised:
        fetch(find_encoder(str(folder)))
    assert "\n" not in str(raised.value)


PEAK = """
import resource, sys, time
from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import find_encoder
from autoprune.errors import ModelError
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    fetch(find_encoder(sys.argv[1]))
except ModelError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"num_labels": 10**9}, marks=pytest.mark.slow),
        pytest.param(
            {"text_config": {"num_labels": 10**9}, "model_type": "clip"}, marks=pytest.mark.slow
        ),
        {"num_hidden_layers": 10**9, "model_type": "modernbert"},
    ],
)
def test_a_thousand_million_labels_take_no_memory(edit_config, fields):
    folder = edit_config(**fields)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    grown, line = done.stdout.strip().split(" ", 1)
    assert int(grown) < 100 * 1024, line
    assert f"{folder}/config.json has num_" in line
    assert "1000000000, no model has more than 100,000" in line


def test_labels_of_the_config_do_not_matter_for_a_new_head(edit_config):
    folder = edit_config(num_labels=7, id2label={"0": "x"}, label2id={"x": 0})
    model = load_classifier(fetch(find_encoder(str(folder))), ["a", "b", "c"], 0)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_number_of_labels_without_names_is_that_of_a_trained_head(bert, edit_config):
    load_classifier(fetch(find_encoder(str(bert))), list("abcd"), 0).save_pretrained(bert)
    config = json.loads((bert / "config.json").read_text())
    del config["id2label"], config["label2id"]
    (bert / "config.json").write_text(json.dumps({**config, "num_labels": 4}))
    assert load_trained(fetch(find_encoder(str(bert)))).num_labels == 4


def test_other_weights_than_those_that_are_checked_are_refused(edit_config):
    folder = edit_config(transformers_weights="other.safetensors")
    weights = load_file(folder / "model.safetensors")
    save_file({name: 2 * weight for name, weight in weights.items()}, folder / "other.safetensors")
    with pytest.raises(ModelError, match="names other weights in transformers_weights") as raised:
        fetch(find_encoder(str(folder)))
    assert str(folder / "config.json") in str(raised.value)


def test_other_config_than_the_one_that_is_checked_is_refused(bert, edit_config):
    content = json.loads((bert / "config.json").read_text())
    other = {**content, "transformers_weights": "other.safetensors", "hidden_act": "relu"}
    (bert / "config.4.0.0.json").write_text(json.dumps(other))
    folder = edit_config(configuration_files=["config.4.0.0.json"])
    with pytest.raises(ModelError, match="names other configs in configuration_files") as raised:
        fetch(find_encoder(str(folder)))
    assert str(folder / "config.json") in str(raised.value)


def test_model_that_returns_tuples_has_logits(edit_config):
    model = load_classifier(fetch(find_encoder(str(edit_config(return_dict=False)))), ["a"], 0)
    assert model(input_ids=torch.tensor([[2, 5, 3]])).logits.shape == (1, 1)


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def nested(depth: int) -> str:
    return '{"x": ' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("name", "size"),
    [("config.json", 1 << 40), ("tokenizer.json", 1 << 40), ("vocab.txt", 1 << 30)],
)
def test_file_beyond_all_reason_is_refused_unread(bert, name, size):
    sparse(bert / name, size)
    with pytest.raises(ModelError, match=r"has more than \d+ MiB") as raised:
        fetch(find_encoder(str(bert)))
    assert str(bert / name) in str(raised.value)


@pytest.mark.parametrize("depth", [200, 900, 990, 5000, 100_000])
def test_deep_nesting_in_a_config_is_no_traceback(bert, depth):
    config = json.loads((bert / "config.json").read_text())
    text = json.dumps({**config, "extra": 0}).replace('"extra": 0', f'"extra": {nested(depth)}')
    (bert / "config.json").write_text(text)
    try:
        load_classifier(fetch(find_encoder(str(bert))), ["a", "b"], 0)
    except ModelError as error:
        assert "\n" not in str(error)
        assert str(bert) in str(error)
    else:
        assert depth < 1000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architectures": 1.5}, "a list of names in architectures"),
        ({"architectures": ["BertModel", None]}, "a list of names in architectures"),
        ({"hidden_dropout_prob": 7}, "hidden_dropout_prob from 0 to 1, it has 7"),
        ({"attention_probs_dropout_prob": -1}, "attention_probs_dropout_prob from 0 to 1"),
    ],
)
def test_field_that_would_fail_only_in_training_is_refused(edit_config, fields, message):
    folder = edit_config(**fields)
    with pytest.raises(ModelError, match=message):
        fetch(find_encoder(str(folder)))
