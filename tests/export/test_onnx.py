"""ONNX export has torch's logits for any batch, or leaves no file."""

import random
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import shape_inference
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from autoprune.errors import ModelError, OptionError
from autoprune.export import formats
from autoprune.export import onnx as onnx_module
from autoprune.export.formats import MODEL_FORMATS, open_onnx_model, predict_rows
from autoprune.export.onnx import export_onnx
from autoprune.export.onnx_graph import first_token_graph, shortened_last_layer, without_padding
from autoprune.export.predict import make_tokenizer
from autoprune.tasks.task import LabelledRows
from tiny_models import NUMBERS, jitter_, save_model

# Exports in a process of its own, and keeps the graph as the exporter made it.
EXPORT = """
import sys
from pathlib import Path
import onnx
from autoprune.export import onnx as onnx_export
folder, texts = Path(sys.argv[1]), sys.argv[2:]
trace = onnx_export._trace
def kept(*args):
    model = trace(*args)
    onnx.save(model, folder.with_name("traced.onnx"))
    return model
onnx_export._trace = kept
from autoprune.export.quantization import QUANTIZATIONS, quantize_onnx
from autoprune.tasks.task import LabelledRows
rows = LabelledRows(tuple(texts), (0,) * len(texts))
export = onnx_export.export_onnx(folder, rows, folder / "model.onnx")
quantize_onnx(folder / "model.onnx", folder / "int8.onnx", QUANTIZATIONS[0], [])
assert export.shortened and export.difference < 1e-5, export
"""


ONNX_FILE, INT8_FILE = "model.onnx", "int8.onnx"


def rows_of(*columns):
    """Return rows of texts, and maybe of second texts, without a label."""
    texts, *pairs = map(tuple, columns)
    return LabelledRows(texts, (0,) * len(texts), pairs[0] if pairs else None)


def export(folder, texts):
    return export_onnx(folder, rows_of(texts), folder / ONNX_FILE)


def onnx_logits(file, folder, texts, batch=32, pairs=None):
    rows = rows_of(texts) if pairs is None else rows_of(texts, pairs)
    return predict_rows(open_onnx_model(file), folder, rows, batch)


def texts_of(count, seed=0, longest=12):
    draw = random.Random(seed)
    return [" ".join(draw.choices(NUMBERS, k=draw.randint(1, longest))) for _ in range(count)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the folder of a tiny classifier that was exported, and what the export printed."""
    folder = save_model("bert", tmp_path_factory.mktemp("onnx") / "tiny")
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    jitter_(model)
    model.save_pretrained(folder)
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, folder, *texts_of(30)],
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(exported):
    return exported[0]


@pytest.fixture
def traced(folder):
    """Return the graph as the exporter made it."""
    return onnx.load(folder.with_name("traced.onnx"))


@pytest.fixture
def saved(folder, traced, tmp_path, monkeypatch):
    """Return a copy of the model's folder without ONNX files; exporting it again costs little."""
    monkeypatch.setattr(onnx_module, "_trace", lambda *_: traced)
    ignore = shutil.ignore_patterns("*.onnx")
    return shutil.copytree(folder, tmp_path / "saved", ignore=ignore)


def in_torch(folder, tokens):
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**{name: torch.from_numpy(ids) for name, ids in tokens.items()}).logits.numpy()


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_onnx_export_prints_nothing_and_adds_two_files(exported, saved):
    folder, printed = exported
    assert printed == ""
    assert names(folder) - names(saved) == {ONNX_FILE, INT8_FILE}


@pytest.mark.parametrize(("rows", "longest"), [(1, 1), (1, 30), (3, 7), (40, 12)])
def test_onnx_logits_equal_torchs_for_any_batch(folder, rows, longest):
    tokens = make_tokenizer(folder)(texts_of(rows, seed=rows, longest=longest))
    assert (
        np.abs(open_onnx_model(folder / ONNX_FILE)(tokens) - in_torch(folder, tokens)).max() < 1e-5
    )


# With padding on the left, a head that takes the first position looks at padding.
@pytest.mark.parametrize(
    ("change", "side"),
    [
        (shortened_last_layer, "left"),
        (shortened_last_layer, "right"),
        (without_padding, "right"),
        (first_token_graph, "right"),
    ],
)
def test_graph_changes_keep_the_logits(folder, traced, tmp_path, change, side):
    draw = np.random.default_rng(0)
    change(traced.graph)
    onnx.checker.check_model(traced, full_check=True)
    onnx.save(traced, tmp_path / ONNX_FILE)
    run = open_onnx_model(tmp_path / ONNX_FILE)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    for _ in range(8):
        texts = texts_of(int(draw.integers(1, 9)), seed=int(draw.integers(1000)), longest=20)
        tokens = dict(tokenizer(texts, padding=True, return_tensors="np"))
        assert np.abs(run(tokens) - in_torch(folder, tokens)).max() < 1e-5


def shapes(model):
    inferred = shape_inference.infer_shapes(model).graph
    products = {node.output[0] for node in inferred.node if node.op_type in ("MatMul", "Gemm")}
    return {
        one.name: [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim]
        for one in inferred.value_info
        if one.name in products
    }


def test_graph_computes_only_first_tokens_after_the_last_attention(traced):
    whole = [shape for shape in shapes(traced).values() if len(shape) == 2]
    shortened_last_layer(traced.graph)
    less = [shape for shape in shapes(traced).values() if len(shape) == 2]
    # The pooler only; then also the last layer's output, intermediate and output maps.
    assert (len(whole), len(less)) == (1, 4)


def test_graph_multiplies_no_padding(traced):
    before = {name for name, shape in shapes(traced).items() if shape[:2] == ["batch", "length"]}
    without_padding(traced.graph)
    after = {name for name, shape in shapes(traced).items() if shape[:2] == ["batch", "length"]}
    assert len(before) == 5 * 6  # six maps in each of five layers
    assert after == set()


def test_graph_without_a_mask_is_not_changed(traced):
    kept = [one for one in traced.graph.input if one.name != "attention_mask"]
    del traced.graph.input[:]
    traced.graph.input.extend(kept)
    as_it_was = traced.SerializeToString(deterministic=True)
    first_token_graph(traced.graph)
    assert traced.SerializeToString(deterministic=True) == as_it_was


def test_int8_logits_are_near_and_weights_are_small(folder):
    texts = texts_of(64, seed=5)
    gap = onnx_logits(folder / INT8_FILE, folder, texts) - onnx_logits(
        folder / ONNX_FILE, folder, texts
    )
    assert 0 < np.abs(gap).max() < 0.02
    weights = [one for one in onnx.load(folder / INT8_FILE).graph.initializer if one.dims[1:]]
    floats = {one.name for one in weights if one.data_type == onnx.TensorProto.FLOAT}
    # The head's two matrices, by the names that onnxruntime gives them.
    assert floats == {"bert.pooler.dense.weight_Transposed", "classifier.weight_Transposed"}
    summed = [
        np.abs(onnx.numpy_helper.to_array(one).astype(int)).max()
        for one in weights
        if one.data_type == onnx.TensorProto.INT8
    ]
    assert max(summed) == 64  # seven bits, so that no processor's 16-bit sums overflow


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_onnx_logits_are_in_the_order_of_the_texts(folder, batch):
    texts = texts_of(23, seed=3)
    tokens = [make_tokenizer(folder)([text]) for text in texts]
    wanted = np.concatenate([in_torch(folder, each) for each in tokens])
    assert np.abs(onnx_logits(folder / ONNX_FILE, folder, texts, batch) - wanted).max() < 1e-5


def test_onnx_logits_of_two_texts_per_row(folder):
    texts, pairs = texts_of(7, seed=1), texts_of(7, seed=2)
    wanted = in_torch(folder, make_tokenizer(folder)(texts, pairs))
    found = onnx_logits(folder / ONNX_FILE, folder, texts, pairs=pairs)
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found - onnx_logits(folder / ONNX_FILE, folder, texts)).max() > 1e-3


def test_onnx_logits_of_texts_that_are_too_long(folder):
    found = onnx_logits(folder / ONNX_FILE, folder, [" ".join(NUMBERS * 9)])
    assert found.shape == (1, 3) and np.isfinite(found).all()


def spoil(graph):
    """Change a weight of the first layer."""
    weight = next(one for one in graph.initializer if len(one.dims) == 2 and one.dims[0] == 24)
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.1)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


def misfit(graph):
    """Make a graph that onnxruntime refuses."""
    graph.node[5].input[0] = "nowhere"


@pytest.mark.parametrize("harm", [spoil, misfit])
def test_onnx_export_falls_back_to_the_traced_graph(saved, monkeypatch, harm):
    monkeypatch.setattr("autoprune.export.onnx_graph.first_token_graph", harm)
    made = export(saved, texts_of(20))
    assert not made.shortened and made.difference < 1e-5
    assert np.isfinite(onnx_logits(saved / ONNX_FILE, saved, texts_of(3))).all()


def test_onnx_export_of_a_model_that_looks_at_padding_is_not_shortened(saved):
    AutoTokenizer.from_pretrained(saved, padding_side="left").save_pretrained(saved)
    made = export(saved, texts_of(20))
    assert not made.shortened and made.difference < 1e-5


@pytest.mark.parametrize(("harm", "message"), [(spoil, "differ by"), (misfit, "differ by inf")])
def test_onnx_export_with_wrong_logits_is_refused_and_leaves_no_file(saved, traced, harm, message):
    before = names(saved)
    harm(traced.graph)
    with pytest.raises(ModelError, match=message):
        export(saved, texts_of(20))
    assert names(saved) == before


def test_onnx_export_that_is_interrupted_leaves_no_file(saved, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    before = names(saved)
    monkeypatch.setattr(onnx_module, "open_onnx_model", fail)
    with pytest.raises(KeyboardInterrupt):
        export(saved, texts_of(4))
    assert names(saved) == before


def test_onnx_export_of_a_model_that_cannot_be_traced_is_refused(folder, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such thing\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    spare = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.onnx"))
    before = names(spare)
    with pytest.raises(ModelError, match=r"cannot be exported to ONNX \(no such thing\)"):
        export(spare, texts_of(4))
    assert names(spare) == before


def test_onnx_without_the_extra_names_what_to_install(folder, monkeypatch):
    without = replace(MODEL_FORMATS["onnx"], packages=("onnx", "no_such_package"))
    monkeypatch.setitem(formats.MODEL_FORMATS, "onnx", without)
    with pytest.raises(OptionError, match=r"pip install \"autoprune\[onnx\]\""):
        export(folder, texts_of(2))
    with pytest.raises(OptionError, match="pip install"):
        open_onnx_model(folder / ONNX_FILE)
    assert ONNX_FILE in names(folder)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_onnx_file_that_is_no_model_is_refused(tmp_path, content):
    (tmp_path / ONNX_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot open the model .*model\.onnx"):
        open_onnx_model(tmp_path / ONNX_FILE)
