"""The gate: a format is kept if it answers as the model in torch does, else nothing is left."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from autoprune.encoders.registry import Encoder
from autoprune.errors import ModelError
from autoprune.export import gate as gate_module
from autoprune.export import quantization, reload
from autoprune.export.export import save_model
from autoprune.export.final_training import merged_model
from autoprune.export.formats import (
    MODEL_FORMATS,
    find_formats,
    open_format,
    read_formats_checkpoint,
)
from autoprune.export.gate import GateRows, add_formats
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows
from autoprune.training.problem_types import REGRESSION, SINGLE_LABEL

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "export"))

LAYOUT = Layout.parse("5:1,3")


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """Return the folder of a tiny trained model, and what its formats are measured on."""
    made = tiny("bert")
    folder = tmp_path_factory.mktemp("gate") / "model"
    made.tokenizer.model_max_length, made.tokenizer.padding_side = 12, "right"
    save_model(merged_model(made.evaluator, LAYOUT, made.train(LAYOUT)), made.tokenizer, folder)
    validation = made.splits.validation
    rows = GateRows(
        made.sample.rows,
        made.splits.train,
        validation,
        np.array(validation.labels),
        SINGLE_LABEL,
        "accuracy",
        max_drop=10,
    )
    return folder, rows


def run_here(arguments):
    return reload.format_logits(**arguments)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def traced(saved, tmp_path_factory):
    """Return the model as ONNX, which takes seconds to make."""
    folder, rows = saved
    file = tmp_path_factory.mktemp("traced") / "model.onnx"
    gate_module.export_onnx(folder, rows.sample, file)
    return file


@pytest.fixture
def copy(saved, traced, tmp_path, monkeypatch):
    """Return a folder without other formats, which costs little to export, and the rows."""
    folder, rows = saved
    out = tmp_path / "model"
    out.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (out / path.name).write_bytes(path.read_bytes())

    def export(folder, rows, file):
        file.write_bytes(traced.read_bytes())

    monkeypatch.setattr(gate_module, "export_onnx", export)
    return out, rows


@pytest.mark.slow
def test_gate_keeps_formats_that_answer_alike(copy):
    folder, rows = copy
    result = add_formats(folder, list(MODEL_FORMATS), rows, run_here)
    assert result.refused == ()
    assert list(result.notes) == list(MODEL_FORMATS)[1:]
    assert list(find_formats(folder)) == list(MODEL_FORMATS)


@pytest.mark.slow
def test_gate_runs_a_format_in_a_new_process(copy):
    folder, rows = copy
    result = add_formats(folder, ["onnx"], rows)
    assert "of torch's in a new process" in result.notes["onnx"]


@pytest.mark.slow
def test_gate_refuses_fewer_bits_that_are_worse(copy):
    folder, rows = copy
    before = files(folder)

    def guess(arguments):
        return {"logits": np.eye(3)[(np.array(rows.labels) + 1) % 3].tolist()}

    result = add_formats(folder, ["onnx-int8", "openvino-int8"], rows, guess)
    assert (result.notes, len(result.refused)) == ({}, 2)
    assert "is refused and nothing of it is left: \u2212" in result.refused[0]
    assert "points of accuracy on validation (95 % interval " in result.refused[0]
    assert result.refused[0].endswith("--max-quantization-drop allows 10")
    assert files(folder) == before


@pytest.mark.parametrize(
    ("loss", "allowed", "line"),
    [
        (0.25, 50, "−0.250 units of mean squared error (+ is better) on validation (95 % interval"),
        (0.25, 5, "--max-quantization-drop allows 0.05"),
        (-0.25, 5, "+0.250 units of mean squared error (+ is better) on validation"),
    ],
)
def test_gate_of_an_error_has_one_unit(loss, allowed, line, tmp_path):
    labels = np.linspace(0, 4, 40)
    rows = LabelledRows(("t",) * 40, tuple(labels))
    given = GateRows(rows, rows, rows, labels, REGRESSION, "mse", max_drop=allowed)
    gate = gate_module._Gate(tmp_path, tmp_path, given, run_here)
    gate.contributions = gate._contributions((labels + 0.5)[:, None])
    logits = (labels + np.sqrt(0.25 + loss))[:, None].astype(np.float32)
    try:
        found = gate._check_quality(logits)
    except ModelError as error:
        found = str(error)
        assert loss > allowed / 100
    assert line in found
    assert "hundredths" not in found and "points" not in found


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_gate_refuses_other_logits_in_fp32(copy, name):
    folder, rows = copy
    before = files(folder)

    def shifted(arguments):
        found = run_here(arguments)
        found["logits"][5][1] += 2e-4
        return found

    result = add_formats(folder, [name], rows, shifted)
    assert "must be within 0.0001 of torch's, they differ by 0.0002" in result.refused[0]
    assert files(folder) == before


@pytest.mark.parametrize(
    ("answer", "reason"),
    [({"error": "no such operator"}, "does not run it: no such operator"), ("nan", "not finite")],
)
def test_gate_refuses_what_does_not_run(copy, answer, reason):
    folder, rows = copy
    nan = {"logits": np.full((len(rows.validation), 3), np.nan).tolist()}
    result = add_formats(folder, ["onnx-fp16"], rows, lambda _: nan if answer == "nan" else answer)
    assert reason in result.refused[0]


def test_gate_takes_another_quantization_where_the_first_is_bad(copy, monkeypatch):
    folder, rows = copy
    quantize = quantization.quantize_onnx

    def spoil(file, small, way, calibration):
        if way.per_channel and way.bits == 7:
            raise ModelError("it cannot")
        quantize(file, small, way, calibration)
        if way.bits == 7:
            model = onnx.load(small)
            bias = next(each for each in model.graph.initializer if list(each.dims) == [3])
            values = onnx.numpy_helper.to_array(bias) + np.float32([0, 0, 99])
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
            onnx.save(model, small)

    monkeypatch.setattr(gate_module, "quantize_onnx", spoil)
    result = add_formats(folder, ["onnx-int8"], replace(rows, max_drop=1), run_here)
    assert "dynamic, a scale per column, 8 bits (chosen on validation" in result.notes["onnx-int8"]


def test_gate_measures_the_grid_on_validation_in_every_way(copy):
    folder, rows = copy
    tokens = quantization.calibration_tokens(folder, rows.train)
    assert len(tokens) == len(rows.train)
    assert len({str(way) for way in quantization.QUANTIZATIONS}) == 5


@pytest.mark.parametrize("way", quantization.QUANTIZATIONS, ids=str)
def test_head_is_not_quantized(copy, traced, tmp_path, way):
    folder, rows = copy
    small = tmp_path / "small.onnx"
    quantization.quantize_onnx(
        traced, small, way, quantization.calibration_tokens(folder, rows.train)
    )
    found = {each.name: each.data_type for each in onnx.load(small).graph.initializer}
    head = [name for name in found if "classifier" in name or "pooler" in name]
    assert len([name for name in head if "weight" in name]) == 2
    assert {found[name] for name in head} == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.INT8 in found.values()


@pytest.mark.slow
def test_gate_of_two_texts_per_row(saved, tmp_path):
    folder, rows = saved

    def paired(split):
        return replace(split, pairs=split.texts[::-1])

    out = tmp_path / "model"
    shutil.copytree(folder, out)
    pairs = replace(
        rows,
        sample=paired(rows.sample),
        train=paired(rows.train),
        validation=paired(rows.validation),
    )
    names = ["onnx", "onnx-int8", "openvino-int8"]
    result = add_formats(out, names, pairs, run_here)
    assert (list(result.notes), result.refused) == (names, ())


def test_folder_without_torch_is_read_in_its_fastest_format(copy):
    folder, rows = copy
    add_formats(folder, ["onnx", "onnx-int8"], rows, run_here)
    (folder / "model.safetensors").unlink()
    predictor, name = open_format(folder)
    assert name == "onnx-int8"
    [answer] = predictor([("एक", None)], 1)
    assert answer.sum() == pytest.approx(1)
    checkpoint = read_formats_checkpoint(Encoder("tiny", str(folder)), folder)
    assert checkpoint.depth == 2


@pytest.mark.soak  # 20 seconds a family, some minutes on a busy machine
@pytest.mark.timeout(1800)
def test_gate_takes_or_refuses_each_format_of_a_family_as_documented(family, tmp_path):
    from families import FORMATS, table_row, try_family

    result = try_family(family, tmp_path)
    refused = [line.split()[0] for line in result.refused]
    assert sorted([*result.notes, *refused]) == sorted(FORMATS)
    assert not any("\n" in line for line in result.refused)
    assert {"onnx", "onnx-fp16"} <= result.notes.keys()
    assert set(find_formats(tmp_path / "model")) == {"transformers", *result.notes}
    guide = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
    assert table_row(family, result) in guide.read_text(encoding="utf-8").splitlines()


def test_formats_of_earlier_versions_are_found(copy, traced):
    folder, _ = copy
    for name in ("model.onnx", "model-int8.onnx"):
        (folder / name).write_bytes(traced.read_bytes())
    found = find_formats(folder)
    assert {name: path.name for name, path in found.items()} == {
        "transformers": "model.safetensors",
        "onnx": "model.onnx",
        "onnx-int8": "model-int8.onnx",
    }
