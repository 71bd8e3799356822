"""Model formats: in which file of an exported folder each is, and what runs it.

The names are those that runtimes look for without being told: transformers.js takes
`onnx/model.onnx`, `onnx/model_fp16.onnx` or `onnx/model_quantized.onnx` by its `dtype`, Text
Embeddings Inference `model.onnx` or `onnx/model.onnx`, Infinity any `*.onnx`, and for int8 one
with "quantize" in its name, sentence-transformers all of these and `openvino/openvino_model*.xml`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.encoders.config import read_config
from autoprune.encoders.files import has_weights, list_names, read_checkpoint
from autoprune.encoders.profiling import open_trained
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError, OptionError, first_line, missing_package
from autoprune.export.predict import Predictor, TokenTensors, make_predictor, make_tokenizer
from autoprune.files import is_file, is_folder
from autoprune.tasks.task import LabelledRows, words_of
from autoprune.tasks.tokenization import first_tokens

ForwardPass = Callable[[TokenTensors], NDArray[np.float32]]  # tokens -> logits (rows, classes)

TRANSFORMERS = "transformers"

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

OPENVINO_PACKAGES = (*ONNX_PACKAGES, "openvino", "nncf")


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """A format of a model.

    `file` is its place in the folder, `older` its place in folders of earlier versions. `opener`
    opens the file. Without `quantized` its weights are those of the trained model, in fp32. `extra`
    is the extra of autoprune that has its `packages`. `title` names it in tables.
    """

    title: str
    file: str
    opener: Callable[[Path], ForwardPass]
    older: str = ""
    quantized: bool = False
    extra: str = ""
    packages: tuple[str, ...] = ()

    def find(self, folder: Path) -> Path | None:
        """Return its file in `folder`, None where there is none."""
        names = filter(None, (self.file, self.older))
        return next((folder / name for name in names if is_file(folder / name)), None)

    def check_installed(self) -> None:
        """Raise `OptionError` where the packages that write and run it are not installed."""
        if any(importlib.util.find_spec(name) is None for name in self.packages):
            raise missing_package(self.title, f"autoprune[{self.extra}]")


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
    MODEL_FORMATS["onnx"].check_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other common class
        raise ModelError(f"cannot open the model {file}: {first_line(error)}") from error
    return OnnxModel(session, tuple(tensor.name for tensor in session.get_inputs()))


@dataclass(frozen=True, slots=True, eq=False)
class OpenvinoModel:
    """A model in OpenVINO; `inputs` are the names of its inputs."""

    compiled: Any
    inputs: tuple[str, ...]

    def __call__(self, tokens: TokenTensors) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes). Tensors that are no input are ignored."""
        request = self.compiled.create_infer_request()
        found = request.infer({name: tokens[name] for name in self.inputs})
        return np.array(found[0], dtype=np.float32)


def open_openvino_model(file: Path) -> OpenvinoModel:
    """Open the model `file` (.xml) on the CPU, with as many threads as torch has in this process.

    Raises `OptionError` without the extra `openvino`, `ModelError` for a file that is no model.
    """
    MODEL_FORMATS["openvino"].check_installed()
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time has all threads
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would compute in bfloat16
    }
    try:
        compiled = openvino.Core().compile_model(file, "CPU", settings)
    except Exception as error:  # OpenVINO's errors have no other common class
        raise ModelError(f"cannot open the model {file}: {first_line(error)}") from error
    return OpenvinoModel(compiled, tuple(tensor.any_name for tensor in compiled.inputs))


def _open_transformers(file: Path) -> ForwardPass:
    folder = file.parent
    checkpoint = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    return open_trained(checkpoint, torch.device("cpu"))


MODEL_FORMATS: dict[str, ModelFormat] = {
    TRANSFORMERS: ModelFormat("torch", "model.safetensors", _open_transformers),
    "onnx": ModelFormat(
        "ONNX", "onnx/model.onnx", open_onnx_model, "model.onnx", False, "onnx", ONNX_PACKAGES
    ),
    "onnx-fp16": ModelFormat(
        "ONNX fp16",
        "onnx/model_fp16.onnx",
        open_onnx_model,
        quantized=True,
        extra="onnx",
        packages=ONNX_PACKAGES,
    ),
    "onnx-int8": ModelFormat(
        "ONNX int8",
        "onnx/model_quantized.onnx",
        open_onnx_model,
        "model-int8.onnx",
        quantized=True,
        extra="onnx",
        packages=ONNX_PACKAGES,
    ),
    "openvino": ModelFormat(
        "OpenVINO",
        "openvino/openvino_model.xml",
        open_openvino_model,
        extra="openvino",
        packages=OPENVINO_PACKAGES,
    ),
    "openvino-int8": ModelFormat(
        "OpenVINO int8",
        "openvino/openvino_model_qint8_quantized.xml",
        open_openvino_model,
        quantized=True,
        extra="openvino",
        packages=OPENVINO_PACKAGES,
    ),
}


def find_formats(folder: Path) -> dict[str, Path]:
    """Return the file of each format that the folder has."""
    found = {name: format.find(folder) for name, format in MODEL_FORMATS.items()}
    if has_weights(list_names(folder)):  # maybe in several files
        found[TRANSFORMERS] = folder / "model.safetensors"
    return {name: path for name, path in found.items() if path is not None}


def read_formats_checkpoint(
    encoder: Encoder, folder: Path, trust_remote_code: bool = False
) -> EncoderFiles:
    """Return the files of a model that may have other formats than torch's; raises `ModelError`.

    Without weights of torch, the number of layers is what the config says.
    """
    formats = find_formats(folder)
    if not set(formats) - {TRANSFORMERS} or has_weights(list_names(folder)):
        return read_checkpoint(encoder, folder, trust_remote_code=trust_remote_code)
    config = read_config(folder, trust_remote_code)
    return EncoderFiles(encoder, folder, "", int(config.num_hidden_layers))


_FASTEST_FIRST = ("openvino-int8", "onnx-int8", "openvino", "onnx", "onnx-fp16", TRANSFORMERS)


def open_format(folder: Path, format: str | None = None) -> tuple[Predictor, str]:
    """Open the model in `folder` and return it with its format.

    None takes the fastest format that is there and whose packages are installed. Raises
    `ModelError`, `OptionError`.
    """
    if not is_folder(folder):
        raise ModelError(f"a model is a folder, found none at {str(folder)!r}")
    formats = find_formats(folder)
    if format is not None and format not in formats:
        there = ", ".join(formats) or "none"
        raise OptionError(f"--format {format} is not in {folder}, which has {there}")
    names = [format] if format else [name for name in _FASTEST_FIRST if name in formats]
    if not names:
        raise ModelError(f"{folder} holds no model: name the folder of an exported model")
    for name in names:
        try:
            MODEL_FORMATS[name].check_installed()
        except OptionError:
            if name == names[-1]:
                raise
            continue
        return make_predictor(folder, lambda: MODEL_FORMATS[name].opener(formats[name])), name  # noqa: B023
    raise AssertionError("the last name was tried")


def files_of_format(file: Path) -> list[Path]:
    """Return the files of a format whose main file is `file`: OpenVINO has its weights apart."""
    return [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]


def predict_rows(
    forward: ForwardPass, folder: Path, rows: LabelledRows, batch: int = 32
) -> NDArray[np.float32]:
    """Return the logits of `rows`, (rows, classes), in their order.

    Where each word has a label, they are (rows, words, classes), 0 after a row's last word.

    The tokenizer is the one in `folder`. Texts are sorted by length into batches, for less padding.
    """
    tokenize, texts, pairs = make_tokenizer(folder), rows.texts, rows.pairs
    order = np.argsort([len(text) for text in texts], kind="stable")
    logits: list[NDArray[np.float32]] = []
    for index in np.split(order, range(batch, len(order), batch)):
        second = None if pairs is None else [pairs[row] for row in index]
        logits += list(forward(tokenize([texts[row] for row in index], second)))
    ordered = [logits[place] for place in np.argsort(order)]
    return logits_at_words(folder, rows, ordered) if rows.by_word else np.stack(ordered)


def logits_at_words(
    folder: Path, rows: LabelledRows, logits: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the logits of each word's first token: (rows, words, classes), 0 after the last word.

    `logits` has those of all tokens of each row, (tokens, classes), padding included.
    """
    places = first_tokens(rows.texts, make_tokenizer(folder).offsets(rows.texts))
    found = np.zeros((*places.shape, logits[0].shape[-1]), dtype=np.float32)
    for row, (text, each) in enumerate(zip(rows.texts, logits, strict=True)):
        words = len(words_of(text))
        found[row, :words] = each[places[row, :words]]
    return found


def length_batches(count: int, sizes: Sequence[int]) -> list[slice]:
    """Split `count` rows into batches of the given sizes, in turn.

    >>> length_batches(6, (1, 2))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None), slice(4, 6, None)]
    """
    batches: list[slice] = []
    start = 0
    while start < count:
        size = sizes[len(batches) % len(sizes)]
        batches.append(slice(start, min(start + size, count)))
        start += size
    return batches
