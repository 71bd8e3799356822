"""Quantization: an ONNX model with fewer bits, by onnxruntime or by OpenVINO's NNCF.

Measured on six layers of e5-12 (384 wide) in batches of 32 headlines, two threads with AVX512-VNNI:
onnxruntime 2.0 times the throughput of fp32 with dynamic quantization, 1.4 times with static, whose
logits moved three times as far; OpenVINO 2.5 times with static quantization. Quantized embedding
tables take a quarter of the place and no more time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from autoprune.encoders.config import silence_libraries
from autoprune.errors import ModelError, first_line
from autoprune.export.predict import TokenTensors, make_tokenizer
from autoprune.tasks.task import LabelledRows

CALIBRATION_ROWS = 200  # train rows, drawn at random, on which the range of activations is measured


@dataclass(frozen=True, slots=True)
class Quantization:
    """One way to make weights 8-bit integers in onnxruntime.

    Dynamic: the range of activations is measured at run time, else on calibration rows. Per
    channel: a scale for each column of a matrix, else one for all of it. With seven bits no sum of
    two products overflows 16 bits, in which processors without VNNI add.
    """

    dynamic: bool
    per_channel: bool
    bits: int

    def __str__(self) -> str:
        kind = "dynamic" if self.dynamic else "static"
        scales = "a scale per column" if self.per_channel else "a scale per matrix"
        return f"{kind}, {scales}, {self.bits} bits"


QUANTIZATIONS = (
    Quantization(dynamic=True, per_channel=True, bits=7),
    Quantization(dynamic=True, per_channel=False, bits=7),
    Quantization(dynamic=True, per_channel=True, bits=8),
    Quantization(dynamic=False, per_channel=True, bits=7),
    Quantization(dynamic=False, per_channel=True, bits=8),
)
"""The grid of onnxruntime: fast ones that every processor runs alike come first."""


def calibration_tokens(folder: Path, train: LabelledRows) -> list[TokenTensors]:
    """Return the tokens of `CALIBRATION_ROWS` train rows, each by itself."""
    tokenize = make_tokenizer(folder)
    index = np.random.default_rng(0).permutation(len(train))[:CALIBRATION_ROWS]
    return [
        tokenize([train.texts[row]], None if train.pairs is None else [train.pairs[row]])
        for row in index
    ]


def quantize_onnx(
    file: Path, small: Path, way: Quantization, calibration: Sequence[TokenTensors]
) -> None:
    """Write the ONNX model `file` to `small`, weights as 8-bit integers; raises `ModelError`.

    The head stays in fp32. It is one vector a row, which costs nothing, and a fitted pooler scales
    up small differences between states, and with them the error of rounding these states.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    settings: dict[str, Any] = {
        "nodes_to_exclude": _head_nodes(onnx.load(file, load_external_data=False).graph),
        "per_channel": way.per_channel,
        "reduce_range": way.bits == 7,
        "weight_type": QuantType.QInt8,
    }
    try:
        with _silence():
            if way.dynamic:
                quantize_dynamic(file, small, **settings)
                return
            inputs = [each.name for each in onnx.load(file).graph.input]

            class Reader(CalibrationDataReader):  # type: ignore[misc]
                def __init__(self) -> None:
                    self.rows: Iterator[TokenTensors] = iter(calibration)

                def get_next(self) -> TokenTensors | None:
                    row = next(self.rows, None)
                    return row and {name: row[name] for name in inputs}

            quantize_static(
                file,
                small,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                extra_options={"MatMulConstBOnly": True},
                **settings,
            )
    except OSError:  # a full disk
        raise
    except Exception as error:  # its errors have no other common class
        raise ModelError(f"onnxruntime cannot quantize it ({first_line(error)})") from error


def _head_nodes(graph: Any) -> list[str]:
    """Return the names of the head's matrix products, which keep fp32: see `quantize_onnx`."""
    names = [node.name for node in graph.node if node.op_type == "Gemm"]
    return [*names, *(f"{name}_MatMul" for name in names)]  # onnxruntime's names for their products


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress what these libraries log and print, among it NNCF's progress bars."""
    with silence_libraries(), redirect_stdout(StringIO()):
        yield


def to_float16(file: Path, small: Path) -> None:
    """Write the ONNX model `file` to `small` with weights as 16-bit floats; raises `ModelError`."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        with _silence():
            onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), small)
    except OSError:  # a full disk
        raise
    except Exception as error:
        raise ModelError(f"it cannot be written in 16 bits ({first_line(error)})") from error


def to_openvino(file: Path, out: Path, calibration: Sequence[TokenTensors] | None) -> None:
    """Write the ONNX model `file` as OpenVINO's `out` (.xml) and its weights beside it (.bin).

    With `calibration` in 8-bit integers, by NNCF's post-training quantization for transformers
    (smooth quantization, bias correction). Raises `ModelError`.
    """
    import openvino

    try:
        with _silence():
            model = openvino.convert_model(file)
            if calibration is not None:
                model = _quantize_openvino(model, calibration)
            openvino.save_model(model, out, compress_to_fp16=False)
    except OSError:  # a full disk
        raise
    except Exception as error:  # its errors have no other common class
        raise ModelError(f"OpenVINO cannot convert it ({first_line(error)})") from error


def _quantize_openvino(model: Any, calibration: Sequence[TokenTensors]) -> Any:
    import nncf

    inputs = [each.any_name for each in model.inputs]
    rows = nncf.Dataset(calibration, lambda row: {name: row[name] for name in inputs})
    return nncf.quantize(
        model, rows, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration)
    )
