"""ONNX export: a saved model as one file for onnxruntime, in fp32 and in 8-bit integers."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from autoprune.encoders.config import UNREADABLE, silence_libraries
from autoprune.errors import ModelError, OptionError, first_line
from autoprune.export.predict import TextTokenizer, TokenTensors, make_tokenizer

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

ONNX_FILE, INT8_FILE = "model.onnx", "model-int8.onnx"

ONNX_TOLERANCE = 1e-4  # the largest difference between torch's logits and onnxruntime's in fp32

_BATCHES = (1, 2, 7, 32)  # batch sizes in which logits are compared, in turn


def check_onnx_installed() -> None:
    """Raise `OptionError` where the packages of the extra `onnx` are not installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError(
            f"ONNX needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'autoprune[onnx]'"
        )


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A model in onnxruntime; `inputs` are the names of its inputs."""

    session: Any
    inputs: tuple[str, ...]

    def __call__(self, tokens: TokenTensors) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes). Tensors that are no input are ignored."""
        logits = self.session.run(["logits"], {name: tokens[name] for name in self.inputs})[0]
        return np.asarray(logits, dtype=np.float32)


def open_onnx_model(file: Path) -> OnnxModel:
    """Open the model `file` on the CPU, with as many threads as torch has in this process.

    Raises `OptionError` without the extra `onnx`, `ModelError` for a file that is no model.
    """
    check_onnx_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other common class
        raise ModelError(f"cannot open the model {file}: {first_line(error)}") from error
    return OnnxModel(session, tuple(tensor.name for tensor in session.get_inputs()))


def onnx_logits(
    file: Path,
    folder: Path,
    texts: Sequence[str],
    batch: int = 32,
    pairs: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return the logits of the ONNX model `file` on texts, (texts, classes), in their order.

    The tokenizer is the one in `folder`. Texts are sorted by length into batches, for less
    padding. Raises the same errors as `open_onnx_model`.
    """
    model, tokenize = open_onnx_model(file), make_tokenizer(folder)
    order = np.argsort([len(text) for text in texts], kind="stable")
    logits = []
    for rows in np.split(order, range(batch, len(order), batch)):
        second = None if pairs is None else [pairs[row] for row in rows]
        logits.append(model(tokenize([texts[row] for row in rows], second)))
    return np.concatenate(logits)[np.argsort(order)]


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written: `file` in fp32, and `int8` or None.

    `difference` is the largest between logits of `file` and of torch. `shortened` is true if the
    graph skips padding (see `onnx_graph`), which some model families do not allow.
    """

    file: Path
    int8: Path | None
    difference: float
    shortened: bool


def export_onnx(folder: Path, texts: Sequence[str], int8: bool) -> OnnxExport:
    """Add `model.onnx`, and with `int8` `model-int8.onnx`, to the saved model in `folder`.

    Batch size and length are free, and each file is complete in itself. Raises `OptionError`
    without the extra `onnx`. Raises `ModelError`, and leaves no file, for a model that cannot be
    exported or whose logits on `texts` (at least one) differ from torch's by more than
    `ONNX_TOLERANCE`.
    """
    assert texts, "logits are compared on texts"
    check_onnx_installed()
    file, small = folder / ONNX_FILE, folder / INT8_FILE
    try:
        with silence_libraries():
            difference, shortened = _export(folder, file, texts)
            if int8:
                _quantize(file, small)
    except BaseException:
        file.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
        raise
    return OnnxExport(file, small if int8 else None, difference, shortened)


def _export(folder: Path, file: Path, texts: Sequence[str]) -> tuple[float, bool]:
    """Write `file`. Return the largest difference from torch's logits, and whether it is shortened.

    The shortened graph is taken if its logits are right, else the graph as it was traced.
    """
    from autoprune.export.onnx_graph import first_token_graph

    model, tokenize = _load(folder), make_tokenizer(folder)
    batches = []
    for rows in _split(texts):
        tokens = tokenize(rows)
        with torch.inference_mode():
            batches.append((tokens, model(**_tensors(tokens)).logits.numpy()))
    traced = _trace(model, tokenize)
    try:
        shortened = type(traced).FromString(traced.SerializeToString())
    except Exception as error:
        raise _too_large(error) from error
    first_token_graph(shortened.graph)
    difference = _write(shortened, file, batches)
    if difference <= ONNX_TOLERANCE:
        return difference, True
    difference = _write(traced, file, batches)
    if not difference <= ONNX_TOLERANCE:  # also true for NaN
        raise ModelError(
            f"an ONNX model's logits must be within {ONNX_TOLERANCE:g} of torch's, these differ by "
            f"{difference:.2g}: export without --onnx"
        )
    return difference, False


def _too_large(error: Exception) -> ModelError:
    """Return an error for a model above protobuf's 2 GB, for which protobuf has no error class."""
    return ModelError(
        f"cannot write the model as one ONNX file ({first_line(error)}): export without --onnx, or "
        "with --trim-vocabulary"
    )


def _load(folder: Path) -> PreTrainedModel:
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            # Eager attention gives a graph with a quarter fewer nodes than sdpa.
            attn_implementation="eager",
        )
    except UNREADABLE as error:
        raise ModelError(f"cannot load the model in {folder}: {first_line(error)}") from error
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def _split(texts: Sequence[str]) -> list[list[str]]:
    """Split texts into batches of several sizes, with padding wherever lengths differ."""
    rest = iter(texts)
    chunks = (list(islice(rest, size)) for size in cycle(_BATCHES))
    return list(takewhile(len, chunks))


def _tensors(tokens: TokenTensors) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(ids) for name, ids in tokens.items()}


def _trace(model: PreTrainedModel, tokenize: TextTokenizer) -> Any:
    """Return the model as an ONNX proto; raises `ModelError`."""
    # A size of 1 would become a constant, so there are two rows and at least three tokens.
    example = _tensors(tokenize(["a", "a"]))
    inputs = {name: ids.repeat(1, 3)[:, :8] for name, ids in example.items()}
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=tokenize.longest)
    try:
        program = torch.onnx.export(
            model,
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes={name: {0: batch, 1: length} for name in inputs},
        )
    except Exception as error:  # torch's exporter raises errors of many classes
        raise ModelError(
            f"a {model.config.model_type} model of this shape cannot be exported to ONNX "
            f"({first_line(error)}): export without --onnx"
        ) from error
    assert program is not None, "the exporter was not given a file"
    return program.model_proto


def _write(
    model: Any, file: Path, batches: Sequence[tuple[TokenTensors, NDArray[np.float32]]]
) -> float:
    """Write `model` and return its largest difference from torch's logits; inf if it fails.

    `batches` are tokens with torch's logits on them.
    """
    import onnx

    try:
        onnx.save(model, file)
    except OSError:  # a full disk
        raise
    except Exception as error:
        raise _too_large(error) from error
    try:
        forward = open_onnx_model(file)
        gaps = [np.abs(forward(tokens) - logits).max() for tokens, logits in batches]
    except Exception:  # onnxruntime's errors have no other common class
        return float("inf")
    return float(np.max(gaps))


def _quantize(file: Path, small: Path) -> None:
    """Write `file` with weights as 8-bit integers; activations are quantized at run time.

    Measured on six layers 128 wide with 16,000 tokens, one thread with AVX512-VNNI: 1.83 times the
    throughput of fp32 with signed weights, 1.20 times with unsigned ones. One scale per column
    instead of one per matrix costs 2 %, and is used for weights of uneven size. Quantized embedding
    tables take 3.8 instead of 10.2 MB and no more time. Weights have seven bits: processors that
    have only AVX2 add two products in 16 bits, which eight bits overflow (a tiny model's logits
    moved by 0.039, with seven bits by less than 0.02).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(file, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
