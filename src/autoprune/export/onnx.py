"""ONNX: a saved model as one file that onnxruntime runs without torch, and as 8-bit integers."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from autoprune.encoders.files import UNREADABLE, silence_libraries
from autoprune.errors import ModelError, OptionError, first_line
from autoprune.export.predict import TextTokenizer, TokenTensors, make_tokenizer

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_extra() -> None:
    """Raise `OptionError` where the packages of the extra `onnx` are not installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError(
            f"ONNX needs packages that are not here ({', '.join(missing)}): "
            "pip install 'autoprune[onnx]'"
        )


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A model in onnxruntime."""

    session: Any
    names: tuple[str, ...]

    def __call__(self, tokens: TokenTensors) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes); what the model does not take is left."""
        found = self.session.run(["logits"], {name: tokens[name] for name in self.names})
        return np.asarray(found[0], dtype=np.float32)


def open_model(file: Path) -> OnnxModel:
    """Open the model `file` on the processor, with as many threads as torch has here.

    Raises `OptionError` without the extra `onnx`, `ModelError` for a file that is no model.
    """
    check_extra()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class but this
        raise ModelError(f"cannot open the model {file}: {first_line(error)}") from error
    return OnnxModel(session, tuple(one.name for one in session.get_inputs()))


def onnx_logits(
    file: Path,
    folder: Path,
    texts: Sequence[str],
    batch: int = 32,
    pairs: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return what the ONNX model `file` makes of texts, (texts, classes), in their order.

    The tokenizer is that of `folder`; texts of like length go together, for less padding. Raises
    as `open_model` does.
    """
    model, tokenise = open_model(file), make_tokenizer(folder)
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = []
    for start in range(0, len(texts), batch):
        rows = order[start : start + batch]
        second = None if pairs is None else [pairs[row] for row in rows]
        found.append(model(tokenise([texts[row] for row in rows], second)))
    logits = np.concatenate(found)
    return logits[np.argsort(order)]


__all__ = ["INT8", "MODEL", "OnnxExport", "check_extra", "export_onnx", "onnx_logits"]

MODEL, INT8 = "model.onnx", "model-int8.onnx"

ONNX_TOLERANCE = 1e-4  # the largest difference between torch's logits and onnxruntime's in fp32

_BATCHES = (1, 2, 7, 32)  # batch sizes in which logits are compared, in turn


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written: `file` in fp32, `int8` or None, and their sizes in bytes.

    `difference` is the largest between logits of `file` and of torch; `shortened` tells whether
    `file` leaves padding out (see `onnx_graph`), which some families do not allow.
    """

    file: Path
    bytes: int
    difference: float
    shortened: bool
    int8: Path | None
    int8_bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A batch of tokens, and torch's logits."""

    tokens: TokenTensors
    logits: NDArray[np.float32]


def export_onnx(folder: Path, texts: Sequence[str], int8: bool) -> OnnxExport:
    """Add `model.onnx`, and with `int8` `model-int8.onnx`, to the saved model in `folder`.

    Batch and length are free, and each file holds all that it needs. Raises `OptionError` without
    the extra `onnx`; `ModelError`, and no file stays, for a model that cannot be exported or whose
    logits on `texts` (at least one) come out further than `ONNX_TOLERANCE` from torch's.
    """
    assert texts, "logits are compared on texts"
    check_extra()
    file, small = folder / MODEL, folder / INT8
    try:
        with silence_libraries():
            difference, shortened = _export(folder, file, texts)
            if int8:
                _quantise(file, small)
    except BaseException:
        file.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
        raise
    return OnnxExport(
        file=file,
        bytes=file.stat().st_size,
        difference=difference,
        shortened=shortened,
        int8=small if int8 else None,
        int8_bytes=small.stat().st_size if int8 else None,
    )


def _export(folder: Path, file: Path, texts: Sequence[str]) -> tuple[float, bool]:
    """Write `file`; return how far its logits are from torch's, and whether it is shortened."""
    from autoprune.export.onnx_graph import first_token_graph

    model, tokenise = _load(folder), make_tokenizer(folder)
    answers = [_answer(model, tokenise(rows)) for rows in _mixed(texts)]
    whole = _trace(model, tokenise)
    try:
        short = type(whole).FromString(whole.SerializeToString())
    except Exception as error:
        raise _too_large(error) from error
    first_token_graph(short.graph)
    difference = _write(short, file, answers)
    if difference <= ONNX_TOLERANCE:
        return difference, True
    difference = _write(whole, file, answers)
    if not difference <= ONNX_TOLERANCE:  # not a number is not close either
        raise ModelError(
            f"an ONNX model's logits must be within {ONNX_TOLERANCE:g} of torch's, these differ by "
            f"{difference:.2g}: export without --onnx"
        )
    return difference, False


def _too_large(error: Exception) -> ModelError:
    """Say that protobuf, whose own error is no ValueError, holds at most 2 GB."""
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
            # Attention written out gives a graph with a quarter fewer nodes than sdpa's.
            attn_implementation="eager",
        )
    except UNREADABLE as error:
        raise ModelError(f"cannot load the model in {folder}: {first_line(error)}") from error
    assert isinstance(model, PreTrainedModel)
    return model.eval()


def _mixed(texts: Sequence[str]) -> list[Sequence[str]]:
    """Cut texts into batches of several sizes; in one batch lengths differ, so there is padding."""
    batches: list[Sequence[str]] = []
    start = 0
    while start < len(texts):
        size = _BATCHES[len(batches) % len(_BATCHES)]
        batches.append(texts[start : start + size])
        start += size
    return batches


def _answer(model: PreTrainedModel, tokens: TokenTensors) -> _Answer:
    with torch.inference_mode():
        logits = model(**_tensors(tokens)).logits
    return _Answer(tokens, logits.numpy())


def _tensors(tokens: TokenTensors) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(ids) for name, ids in tokens.items()}


def _trace(model: PreTrainedModel, tokenise: TextTokenizer) -> Any:
    """Return the model as ONNX, in memory; raises `ModelError`."""
    # A size of 1 would be taken for a constant, so there are two rows and at least three places.
    example = _tensors(tokenise(["a", "a"]))
    inputs = {name: ids.repeat(1, 3)[:, :8] for name, ids in example.items()}
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=tokenise.longest)
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
    except Exception as error:  # whatever torch's exporter raises, it cannot be exported
        raise ModelError(
            f"a {model.config.model_type} model of this shape cannot be exported to ONNX "
            f"({first_line(error)}): export without --onnx"
        ) from error
    assert program is not None, "the exporter was not given a file"
    return program.model_proto


def _write(model: Any, file: Path, answers: Sequence[_Answer]) -> float:
    """Write `model`, run it, and return how far its logits are from torch's; inf: it fails."""
    import onnx

    try:
        onnx.save(model, file)
    except OSError:  # a full disk
        raise
    except Exception as error:
        raise _too_large(error) from error
    try:
        run = open_model(file)
        gaps = [np.abs(run(one.tokens) - one.logits).max() for one in answers]
    except Exception:  # onnxruntime's errors have no common class but this
        return float("inf")
    return float(np.max(gaps))


def _quantise(file: Path, small: Path) -> None:
    """Write `file` with weights as 8-bit integers; activations are rounded while it runs.

    Measured on six layers 128 wide with 16,000 tokens, one thread with AVX512-VNNI: 1.83 times the
    throughput of fp32 with signed weights, 1.20 with unsigned ones; a scale a column instead of
    one a matrix costs 2 %, and is kept for weights of uneven size; embedding tables rounded too
    take 3.8 instead of 10.2 MB and no more time. Weights have seven bits: processors with AVX2
    alone add two products in 16 bits, which eight bits overflow (a tiny model's logits moved by
    0.039, with seven by less than 0.02).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(file, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
