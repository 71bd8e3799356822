"""Model folder: an incomplete or broken one is refused in one line that names the remedy."""

import json
import pickle
import sys

import pytest
from safetensors.torch import load_file, save_file

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.registry import Encoder, find_encoder
from autoprune.errors import ModelError


def remove(folder, *names):
    for name in names:
        (folder / name).unlink()


class Planted:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def only_pickle(folder):
    remove(folder, "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(folder / "executed")))


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def index_with(shard):
    def spoil(folder):
        remove(folder, "model.safetensors")
        index = {"metadata": {}, "weight_map": {"x": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


def config_with(**fields):
    def spoil(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return spoil


SPOILERS = {
    "no config": (lambda f: remove(f, "config.json"), "holds config.json, .* does not"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "config.json is not JSON"),
    "config not UTF-8": (lambda f: (f / "config.json").write_bytes(b"\xff{}"), "is not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "must hold a JSON object"),
    "config deep": (lambda f: (f / "config.json").write_text("[" * 10**5), "is not JSON"),
    "config of no model": (lambda f: (f / "config.json").write_text("{}"), "cannot use the config"),
    "unknown type": (config_with(model_type="nonesuch"), "cannot use the config"),
    "odd field": (config_with(hidden_size="wide"), "cannot use the config"),
    "no layers": (config_with(num_hidden_layers=0), "how many layers"),
    "no weights": (lambda f: remove(f, "model.safetensors"), "holds model.safetensors, .* does no"),
    "only pickle": (only_pickle, "only pickled weights"),
    "weights cut off": (cut_weights, "model.safetensors is cut off or broken, fetch it again"),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "cut off or broken"),
    "weights a pointer": (
        lambda f: (f / "model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1"
        ),
        "cut off or broken",
    ),
    "no tensors": (lambda f: save_file({}, f / "model.safetensors"), "holds no weights"),
    "shard missing": (index_with("model-00001-of-00001.safetensors"), "which is not there"),
    "shard elsewhere": (index_with("../model-1.safetensors"), "which is not there"),
    "shard a number": (index_with(1), "which is not there"),
    "no tokenizer": (lambda f: remove(f, "tokenizer.json"), "holds its tokenizer"),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "merge it into its model"),
}


@pytest.mark.parametrize("case", SPOILERS)
def test_bad_folder_is_refused_in_one_line_that_names_it(bert, case):
    spoil, message = SPOILERS[case]
    spoil(bert)
    with pytest.raises(ModelError, match=message) as raised:
        fetch(find_encoder(str(bert)))
    assert "\n" not in str(raised.value)
    assert str(bert) in str(raised.value)
    assert not (bert / "executed").exists()


def test_missing_folder_is_refused(tmp_path):
    folder = tmp_path / "gone"
    with pytest.raises(ModelError, match="gone"):
        read_checkpoint(Encoder("gone", str(folder)), folder)


def test_pickle_beside_safetensors_is_never_read(bert):
    planted = pickle.dumps(Planted(bert / "executed"))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (bert / name).write_bytes(planted)
    load_classifier(fetch(find_encoder(str(bert))), ["a", "b"], 0)
    assert not (bert / "executed").exists()
    pickle.loads(planted).close()
    assert (bert / "executed").exists()


def test_read_checkpoint_returns_depth_and_fingerprint(bert):
    checkpoint = fetch(find_encoder(str(bert)))
    assert (checkpoint.depth, checkpoint.folder, checkpoint.encoder.name) == (5, bert, "tiny")
    scheme, _, digest = checkpoint.commit.partition(":")
    assert scheme == "sha256"
    assert len(digest) >= 16
    assert int(digest, 16) > 0


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_fingerprint_depends_on_the_used_files_only(bert, name):
    before = fetch(find_encoder(str(bert))).commit
    (bert / "README.md").write_text("other words")
    assert fetch(find_encoder(str(bert))).commit == before
    (bert / name).write_text((bert / name).read_text() + "\n")
    assert fetch(find_encoder(str(bert))).commit != before


def test_fingerprint_depends_on_the_weights(bert):
    before = fetch(find_encoder(str(bert))).commit
    weights = load_file(bert / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][7, 3] += 1e-3
    save_file(weights, bert / "model.safetensors", metadata={"format": "pt"})
    assert fetch(find_encoder(str(bert))).commit != before


CODE = """
import pathlib
from transformers import BertConfig, BertForSequenceClassification
pathlib.Path({marker!r}).touch()

class TinyConfig(BertConfig):
    model_type = "tiny-of-its-own"

class TinyClassifier(BertForSequenceClassification):
    config_class = TinyConfig
"""


@pytest.fixture
def with_code(edit_config, tmp_path, monkeypatch):
    """Return a model folder with code of its own, which leaves a mark when it runs."""
    modules = tmp_path / "modules"
    modules.mkdir()
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(modules))
    monkeypatch.setattr(sys, "path", [*sys.path, str(modules)])
    folder = edit_config(
        model_type="tiny-of-its-own",
        auto_map={
            "AutoConfig": "modeling.TinyConfig",
            "AutoModelForSequenceClassification": "modeling.TinyClassifier",
        },
    )
    (folder / "modeling.py").write_text(CODE.format(marker=str(folder / "executed")))
    return folder


def test_remote_code_runs_only_if_trusted(with_code):
    with pytest.raises(ModelError, match=r"runs its own code: .* pass --trust-remote-code"):
        fetch(find_encoder(str(with_code)))
    assert not (with_code / "executed").exists()
    checkpoint = fetch(find_encoder(str(with_code)), trust_remote_code=True)
    model = load_classifier(checkpoint, ["a", "b"], 0)
    assert type(model).__name__ == "TinyClassifier"
    assert (with_code / "executed").exists()


def test_remote_code_beside_a_known_model_does_not_run(with_code, edit_config):
    folder = edit_config(model_type="bert")
    model = load_classifier(fetch(find_encoder(str(folder))), ["a", "b"], 0)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert not (folder / "executed").exists()
