"""Bad model folders: cut off, mixed up or malicious; each is refused in one line."""

import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
META = {"format": "pt"}


def edit(name, **fields):
    """Return a function that changes fields of a JSON file in a model's folder."""

    def spoil(folder):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return spoil


def config(**fields):
    return edit(CONFIG, **fields)


def tokenizer(**fields):
    return edit("tokenizer_config.json", **fields)


def weights(change):
    """Return a function that changes the weights: `change` takes and returns a dictionary."""

    def spoil(folder):
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata=META)

    return spoil


def each(change):
    return weights(lambda held: {name: change(weight) for name, weight in held.items()})


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names):
    def spoil(folder):
        for name in names:
            (folder / name).unlink()

    return spoil


def put(name, make):
    """Return a function that has `make` put something else in a file's place."""

    def spoil(folder):
        (folder / name).unlink()
        make(folder / name)

    return spoil


def sharded(change=lambda places: places):
    """Return a function that cuts the weights in two files; `change` spoils their index."""

    def spoil(folder):
        held = load_file(folder / WEIGHTS)
        places = {name: SHARDS[at % 2] for at, name in enumerate(sorted(held))}
        for shard in SHARDS:
            part = {name: held[name] for name, place in places.items() if place == shard}
            save_file(part, folder / shard, metadata=META)
        (folder / WEIGHTS).unlink()
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": change(places)}))

    return spoil


def overlapping(folder):
    places = {"a": [0, 8], "b": [4, 12]}
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [2], "data_offsets": at} for name, at in places.items()}
    ).encode()
    write(WEIGHTS, struct.pack("<Q", len(header)) + header + bytes(12))(folder)


class Planted:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return open, ("executed", "w")


def pickled(folder):
    remove(WEIGHTS)(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Planted()))


def with_code(folder):
    config(model_type="own", auto_map={"AutoConfig": "evil.Config"})(folder)
    (folder / "evil.py").write_text("open('executed', 'w')\nclass Config: pass\n")


def other_tokens(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["एक"] = 60
    path.write_text(json.dumps(content))


def no_unknown_word(folder):
    remove("tokenizer.json")(folder)
    write("tokenizer_config.json", b'{"tokenizer_class": "BertTokenizer"}')(folder)
    write("vocab.txt", b"")(folder)


def without(*parts):
    return weights(lambda held: {n: w for n, w in held.items() if not any(p in n for p in parts)})


def turned(held):
    return {
        n: w.t().contiguous() if "intermediate.dense.weight" in n else w for n, w in held.items()
    }


def lossy(value):
    def change(held):
        held["bert.encoder.layer.1.output.dense.weight"][0, 0] = value
        return held

    return weights(change)


LAYERS = "num_hidden_layers"
MODELS = {
    # Files that are not there, or are something else
    "nothing in it": (lambda f: [path.unlink() for path in f.iterdir()], ["spoilt", CONFIG]),
    "no config": (remove(CONFIG), ["spoilt", CONFIG]),
    "no weights": (remove(WEIGHTS), [WEIGHTS, "save the model"]),
    "no tokenizer": (remove("tokenizer.json"), ["tokenizer.json", "save the tokenizer"]),
    "pickle only": (pickled, ["pickled", "can run code", WEIGHTS]),
    "an adapter": (write("adapter_config.json", b"{}"), ["adapter", "merge it"]),
    "weights a folder": (put(WEIGHTS, os.mkdir), [WEIGHTS, "must be a file", "copy"]),
    "weights a link to nothing": (
        put(WEIGHTS, lambda path: path.symlink_to("gone")),
        [WEIGHTS, "must be a file"],
    ),
    "config a pipe": (put(CONFIG, os.mkfifo), [CONFIG, "must be a file"]),
    "config a device": (
        put(CONFIG, lambda path: path.symlink_to("/dev/zero")),
        [CONFIG, "must be a file"],
    ),
    "config a secret": (
        put(CONFIG, lambda path: path.symlink_to("/etc/passwd")),
        [CONFIG, "not JSON", "(char 0)"],
    ),
    "tokenizer a pipe": (put("tokenizer.json", os.mkfifo), ["tokenizer.json", "must be a file"]),
    # The config
    "config cut off": (write(CONFIG, b"{"), [CONFIG, "not JSON", "copy it again"]),
    "config of NULs": (write(CONFIG, bytes(300)), [CONFIG, "not JSON"]),
    "config a list": (write(CONFIG, b"[]"), [CONFIG, "JSON object"]),
    "config of no model": (write(CONFIG, b"{}"), ["spoilt", "cannot use the config"]),
    "unknown architecture": (config(model_type="nonesuch"), ["spoilt", "nonesuch", CONFIG]),
    "architecture of pictures": (config(model_type="vit"), ["spoilt", "Unrecognized", CONFIG]),
    "architecture of shared layers": (config(model_type="albert"), ["spoilt", "do not fit"]),
    "code of its own": (with_code, ["spoilt", "its own code", "--trust-remote-code"]),
    "more layers": (config(**{LAYERS: 7}), ["spoilt", "missing", "correct config.json"]),
    "fewer layers": (config(**{LAYERS: 3}), ["spoilt", "no place", "correct config.json"]),
    "a thousand million layers": (config(**{LAYERS: 10**9}), [CONFIG, "1000000000", "correct it"]),
    "less than no layers": (config(**{LAYERS: -1}), [CONFIG, "num_hidden_layers -1"]),
    "layers in words": (config(**{LAYERS: "five"}), ["spoilt", LAYERS, "expected int", CONFIG]),
    "no heads": (config(num_attention_heads=0), ["spoilt", "correct config.json"]),
    "heads that do not share": (config(num_attention_heads=3), ["spoilt", "attention heads (3)"]),
    "heads below nought": (config(num_attention_heads=-2), ["spoilt", "cannot run", CONFIG]),
    "another width": (config(hidden_size=32), ["spoilt", CONFIG, "hidden_size 32", "correct it"]),
    "a width beyond memory": (config(hidden_size=2 * 10**12), ["spoilt", "correct config.json"]),
    "no inner width": (config(intermediate_size=0), ["spoilt", CONFIG, "intermediate_size 0"]),
    "no words": (config(vocab_size=0), ["spoilt", "correct config.json"]),
    "padding unknown": (config(pad_token_id=999), ["spoilt", "correct config.json"]),
    "activation unknown": (config(hidden_act="nonesuch"), ["spoilt", "'nonesuch'", CONFIG]),
    # The weights
    "weights cut off": (
        lambda f: write(WEIGHTS, (f / WEIGHTS).read_bytes()[:-100])(f),
        [WEIGHTS, "cut off or broken", "fetch it again"],
    ),
    "weights garbage": (write(WEIGHTS, b"garbage" * 99), [WEIGHTS, "cut off or broken"]),
    "weights a pointer": (
        write(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n"),
        [WEIGHTS, "fetch it again"],
    ),
    "a header beyond reason": (write(WEIGHTS, b"\xff" * 99), [WEIGHTS, "header too large"]),
    "weights that overlap": (overlapping, [WEIGHTS, "cut off or broken"]),
    "one weight missing": (without("layer.3.output.dense.bias"), ["spoilt", "1 are missing"]),
    "a weight turned": (weights(turned), ["spoilt", "24 × 16, it is 16 × 24"]),
    "weights not numbers": (lossy(float("nan")), ["spoilt", "layer.1", "NaN", "fetch them again"]),
    "weights without end": (lossy(float("inf")), ["spoilt", "layer.1", "infinity"]),
    "weights whole numbers": (each(lambda w: (9 * w).to(torch.int8)), [WEIGHTS, "I8", "quantised"]),
    "index broken": (lambda f: (sharded()(f), write(INDEX, b"{")(f)), [INDEX, "not JSON"]),
    "index of nothing": (sharded(lambda places: {}), [INDEX, "names no weights"]),
    "a shard missing": (lambda f: (sharded()(f), remove(SHARDS[1])(f)), [INDEX, SHARDS[1], "copy"]),
    "a shard upwards": (
        sharded(lambda p: {**p, "x": "../model-1.safetensors"}),
        [INDEX, "../model"],
    ),
    "a shard elsewhere": (sharded(lambda p: {**p, "x": "/etc/passwd"}), [INDEX, "/etc/passwd"]),
    "a shard through a folder": (
        sharded(lambda p: {**p, "x": "model-/../../x.safetensors"}),
        [INDEX, "model-/../../x.safetensors"],
    ),
    "weights in the other shard": (
        sharded(lambda places: dict.fromkeys(places, SHARDS[0])),
        ["spoilt", "missing", "correct"],
    ),
    # The tokenizer
    "tokenizer cut off": (write("tokenizer.json", b'{"version'), ["spoilt", "tokenizer.json"]),
    "tokenizer empty": (write("tokenizer.json", b"{}"), ["spoilt", "fetch tokenizer.json"]),
    "tokenizer's config broken": (
        write("tokenizer_config.json", b"["),
        ["spoilt", "tokenizer_config.json"],
    ),
    "tokenizer of another model": (other_tokens, ["spoilt", "60", "40 tokens", "fetch"]),
    "no padding": (tokenizer(pad_token=None), ["padding token"]),
    "room in words": (tokenizer(model_max_length="long"), ["spoilt", "tokenizer_config.json"]),
    "no room": (tokenizer(model_max_length=2), ["spoilt", "from 3 as model_max_length"]),
    "no words at all": (no_unknown_word, ["spoilt", "[UNK]", "fetch tokenizer.json"]),
}


@pytest.mark.parametrize(("spoil", "words"), MODELS.values(), ids=MODELS)
def test_search_refuses_bad_model(search, refused, model, tmp_path, spoil, words):
    spoil(shutil.copytree(model, tmp_path / "spoilt"))
    refused(*search("--model", "./spoilt"), words=words)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("case", ["config cut off", "weights cut off"])
def test_search_refuses_bad_rival(search, refused, model, tmp_path, case):
    spoil, words = MODELS[case]
    spoil(shutil.copytree(model, tmp_path / "spoilt"))
    refused(*search("--rival", "./spoilt"), words=words)


def test_search_refuses_a_file_as_model(search, refused, model, tmp_path):
    shutil.copy(model / WEIGHTS, tmp_path)
    refused(*search("--model", f"./{WEIGHTS}"), words=[WEIGHTS, "folder", CONFIG])


def linked(folder):
    shutil.move(folder / WEIGHTS, folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to("../elsewhere")


def beside(folder):
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Planted()))


FINE = {
    "in two files": sharded(),
    "half precision": each(torch.Tensor.half),
    "linked, as caches do": linked,
    "pickles beside it": beside,
    "labels of an earlier task": config(id2label={"0": "<script>"}, label2id={"<script>": 0}),
    "code for its tokenizer, not needed": tokenizer(auto_map={"AutoTokenizer": ["evil.Tok", None]}),
}


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_model_that_only_looks_bad_is_used(run, baseline, model, tmp_path, make):
    make(shutil.copytree(model, tmp_path / "odd"))
    (tmp_path / "odd" / "evil.py").write_text("open('executed', 'w')\nclass Tok: pass\n")
    answer = run(*baseline("--model", "./odd", "--allow-unknown-tokens"))
    assert (answer.code, "Traceback" in answer.err) == (0, False), answer
    assert not (tmp_path / "executed").exists()
