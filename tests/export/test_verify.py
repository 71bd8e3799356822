"""Verification: a correct export passes, and each of many faults is found and named."""

import json
import shutil
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertweetTokenizer, PhobertTokenizer

from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError
from autoprune.export import reload
from autoprune.export.export import save_model
from autoprune.export.final_training import merged_model
from autoprune.export.verify import (
    ALLOWED_FILES,
    expect_export,
    reload_in_new_process,
    verify_export,
)
from autoprune.layouts.layout import Layout

LAYOUT = Layout.parse("5:0,2,4")
LAYERS = "bert.encoder.layer"


@dataclass
class Good:
    tiny: Any
    run: Any
    folder: Path
    expected: Any


@pytest.fixture(scope="module")
def good(tiny, tmp_path_factory):
    """Return a correct export of a tiny BERT with three layers, and what is expected of it."""
    bert = tiny("bert")
    run = bert.train(LAYOUT)
    model = merged_model(bert.evaluator, LAYOUT, run)
    bert.tokenizer.model_max_length, bert.tokenizer.padding_side = 12, "right"
    folder = tmp_path_factory.mktemp("good") / "model"
    save_model(model, bert.tokenizer, folder)
    expected = expect_export(bert.sample, run.logits, bert.splits.names, model, bert.tokenizer)
    return Good(bert, run, folder, expected)


@pytest.fixture
def folder(good, tmp_path):
    """Return a copy of the correct folder, to be spoiled."""
    return shutil.copytree(good.folder, tmp_path / "model")


def weights(change):
    def spoil(folder):
        path = folder / "model.safetensors"
        state = load_file(path)
        changed = change(state)
        state = changed if isinstance(changed, dict) else state
        save_file({name: tensor.clone() for name, tensor in state.items()}, path, {"format": "pt"})

    return spoil


def entries(file, **fields):
    def spoil(folder):
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return spoil


def words(change):
    def spoil(folder):
        path = folder / "tokenizer.json"
        whole = json.loads(path.read_text())
        change(whole)
        path.write_text(json.dumps(whole))

    return spoil


@weights
def swapped_layers(state):
    def other(name):
        return (
            name.replace("layer.0.", "layer.x.").replace("layer.1.", "layer.0.").replace("x.", "1.")
        )

    return {other(name): tensor for name, tensor in state.items()}


@weights
def doubled_layer(state):
    for name in state:
        state[name] = state[name.replace(f"{LAYERS}.1.", f"{LAYERS}.0.")]


def dropped(part):
    return weights(
        lambda state: {name: tensor for name, tensor in state.items() if part not in name}
    )


def swapped_rows(first, second):
    def change(state):
        table = state["bert.embeddings.word_embeddings.weight"]
        table[[first, second]] = table[[second, first]]

    return weights(change)


def added(name, amount):
    def change(state):
        state[name][0] += amount

    return weights(change)


def scaled(part, factor):
    return weights(
        lambda state: {
            name: tensor * (factor if part in name else 1) for name, tensor in state.items()
        }
    )


def renamed(part, other):
    return weights(
        lambda state: {name.replace(part, other): tensor for name, tensor in state.items()}
    )


def kind(dtype):
    return weights(lambda state: {name: tensor.to(dtype) for name, tensor in state.items()})


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    folder.joinpath("model.safetensors").unlink()


def without(file):
    return lambda folder: folder.joinpath(file).unlink()


def swapped_words(whole):
    vocabulary = whole["model"]["vocab"]
    vocabulary["एक"], vocabulary["दोन"] = vocabulary["दोन"], vocabulary["एक"]


def other_frame(whole):
    whole["post_processor"]["sep"] = ["[MASK]", 4]


LABELS = {"0": "राज्य", "1": "खेळ", "2": "देश"}
FAULTS = {
    "lost norm": (dropped("layer.1.attention.output.LayerNorm"), "missing keys"),
    "norm of another layer": (scaled("layer.1.attention.output.LayerNorm", 1.5), "a logit of row"),
    "swapped layers": (swapped_layers, "a logit of row"),
    "doubled layer": (doubled_layer, "a logit of row"),
    "lost layer": (dropped("layer.2."), "missing keys"),
    "lost classifier": (dropped("classifier"), "missing keys"),
    "lost pooler bias": (scaled("pooler.dense.bias", 0), "a logit of row"),
    "extra tensor": (weights(lambda s: {**s, "bert.extra": torch.ones(2)}), "unexpected keys"),
    "renamed key": (renamed("classifier.weight", "classifier.wait"), "missing keys: classifier.w"),
    "renamed prefix": (renamed("bert.", "model."), "missing keys"),
    "jittered weight": (added(f"{LAYERS}.1.output.dense.weight", 0.02), "a logit of row"),
    "jittered unused position": (
        weights(lambda s: s["bert.embeddings.position_embeddings.weight"][30:].add_(1)),
        "its weights .* differ",
    ),
    "swapped embedding rows": (swapped_rows(5, 6), "a logit of row"),
    "swapped rows of no text": (swapped_rows(12, 13), "its weights .* differ"),
    "half precision": (kind(torch.float16), "a logit of row|its weights"),
    "bfloat16": (kind(torch.bfloat16), "a logit of row"),
    "other shape": (weights(lambda s: {**s, "classifier.bias": torch.ones(4)}), "mismatched keys"),
    "not a number": (added("classifier.bias", float("nan")), "differs by nan"),
    "cut off": (cut_off, "it does not load"),
    "pickle instead": (pickled, "pytorch_model.bin does not belong"),
    "code": (lambda folder: folder.joinpath("model.py").touch(), "model.py does not belong"),
    "no weights": (without("model.safetensors"), "it does not load"),
    "no config": (without("config.json"), "it does not load"),
    "stale depth": (entries("config.json", num_hidden_layers=5), "missing keys"),
    "too shallow": (entries("config.json", num_hidden_layers=2), "unexpected keys"),
    "other activation": (entries("config.json", hidden_act="relu"), "a logit of row"),
    "other norm epsilon": (entries("config.json", layer_norm_eps=1e-2), "a logit of row"),
    "other heads": (entries("config.json", num_attention_heads=4), "a logit of row"),
    "fewer positions": (entries("config.json", max_position_embeddings=20), "mismatched keys"),
    "other family": (entries("config.json", model_type="roberta"), "keys"),
    "label order": (entries("config.json", id2label=LABELS), "its labels are"),
    "no labels": (entries("config.json", id2label=None, label2id=None), "mismatched keys"),
    "label numbers": (
        entries("config.json", label2id={"खेळ": 1, "राज्य": 0, "देश": 2}),
        "its labels have the numbers",
    ),
    "not one label": (
        entries("config.json", problem_type="multi_label_classification"),
        "its pipeline gives",
    ),
    "no tokenizer": (without("tokenizer.json"), "it does not load"),
    "no tokenizer config": (without("tokenizer_config.json"), "its tokenizer makes"),
    "swapped words": (words(swapped_words), "its tokenizer makes"),
    "other special token": (words(other_frame), "its tokenizer makes"),
    "case kept": (words(lambda whole: whole.update(normalizer=None)), "its tokenizer makes"),
    "accents lost": (
        words(lambda whole: whole.update(normalizer={"type": "BertNormalizer", "clean_text": True,
              "handle_chinese_chars": True, "strip_accents": True, "lowercase": True})),
        "its tokenizer makes",
    ),
    "longer inputs": (
        entries("tokenizer_config.json", model_max_length=40),
        "its tokenizer makes",
    ),
    "other padding": (entries("tokenizer_config.json", pad_token="[MASK]"), "has padding"),
    "padding in front": (entries("tokenizer_config.json", padding_side="left"), "has padding"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_verification_finds_and_names_a_fault(good, folder, spoil, message):
    spoil(folder)
    with pytest.raises(ModelError, match=f"(?s)it is not kept: .*({message})") as refusal:
        verify_export(folder, good.expected, reload.reload_logits)
    assert "\n" not in str(refusal.value)


def test_verification_passes_a_correct_export(good):
    assert verify_export(good.folder, good.expected, reload.reload_logits) <= 1e-6
    assert len(good.tiny.sample.rows) == 64
    assert good.expected.logits.together.std() > 0.05


@pytest.mark.slow
def test_verification_in_a_new_process_passes_a_correct_export(good):
    assert verify_export(good.folder, good.expected) <= 1e-6


@pytest.mark.parametrize(
    "fault", ["swapped layers", pytest.param("cut off", marks=pytest.mark.slow)]
)
def test_verification_in_a_new_process_finds_a_fault(good, folder, fault):
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(ModelError, match=f"it is not kept: .*({message})"):
        verify_export(folder, good.expected)


def test_verification_in_a_process_that_dies_is_an_error(good, monkeypatch):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(ModelError, match="ended with code 1: it printed nothing"):
        reload_in_new_process(str(good.folder), ["एक"], None, [])


def unrestored(good):
    """Leave the whole token table as it was before training."""
    name = "bert.embeddings.word_embeddings.weight"
    whole = merged_model(good.tiny.evaluator, LAYOUT, good.run)
    before = good.tiny.evaluator.load(5).get_input_embeddings().weight
    whole.load_state_dict({**whole.state_dict(), name: before})
    return whole


def shifted(good):
    """Put the trained rows one place too far."""
    evaluator = good.tiny.evaluator
    rows = replace(evaluator.rows, kept=np.minimum(evaluator.rows.kept + 1, 35))
    validation = replace(evaluator.validation, kept=rows.kept)
    wrong = replace(evaluator, rows=rows, validation=validation)
    return merged_model(wrong, LAYOUT, good.run)


def untrained(good):
    """Draw the head anew."""
    whole = merged_model(good.tiny.evaluator, LAYOUT, good.run)
    torch.manual_seed(3)
    whole.classifier.reset_parameters()
    return whole


def deeper(good):
    """Add a layer that was removed."""
    whole = merged_model(good.tiny.evaluator, LAYOUT, good.run)
    whole.bert.encoder.layer.append(good.tiny.evaluator.load(5).bert.encoder.layer[1])
    whole.config.num_hidden_layers += 1
    return whole


@pytest.mark.parametrize("make", [unrestored, shifted, untrained, deeper])
def test_verification_finds_a_fault_before_saving(good, tmp_path, make):
    model, tiny = make(good), good.tiny
    save_model(model, tiny.tokenizer, tmp_path / "model")
    names, tokenizer = tiny.splits.names, tiny.tokenizer
    expected = expect_export(tiny.sample, good.run.logits, names, model, tokenizer)
    with pytest.raises(ModelError, match="a logit of row"):
        verify_export(tmp_path / "model", expected, reload.reload_logits)


def phobert(folder, _, kind=PhobertTokenizer):
    """Save a tokenizer that knows three words."""
    (folder / "vocab.txt").write_text("एक 3\nदोन 2\nतीन 1\n", encoding="utf-8")
    (folder / "bpe.codes").write_text("ए क</w> 3\n", encoding="utf-8")
    kind(str(folder / "vocab.txt"), str(folder / "bpe.codes")).save_pretrained(folder)


def bertweet(folder, tokenizer):
    phobert(folder, tokenizer, BertweetTokenizer)


def chat_templates(folder, tokenizer):
    tokenizer.save_pretrained(folder)
    (folder / "additional_chat_templates").mkdir()
    for name in ("chat_template.jinja", "additional_chat_templates/tools.jinja"):
        (folder / name).write_text("{{ messages }}")


def chat_template_in_config(folder, tokenizer):
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "{{ messages }}"}))


@pytest.mark.parametrize("make", [phobert, bertweet, chat_templates, chat_template_in_config])
def test_files_of_each_tokenizer_belong_in_an_export(good, tmp_path, make):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    make(source, good.tiny.tokenizer)
    tokenizer = load_tokenizer(EncoderFiles(Encoder("it", str(source)), source, "", 1))
    save_model(merged_model(good.tiny.evaluator, LAYOUT, good.run), tokenizer, out)
    names = [path.relative_to(out).as_posix() for path in out.rglob("*")]
    assert [name for name in names if not any(fnmatch(name, each) for each in ALLOWED_FILES)] == []
    reloaded = load_tokenizer(EncoderFiles(Encoder("it", str(out)), out, "", 1))
    assert reloaded("एक दोन")["input_ids"] == tokenizer("एक दोन")["input_ids"]
