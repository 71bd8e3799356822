"""ONNX export: a saved model as one file for onnxruntime, in fp32."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autoprune.encoders.config import UNREADABLE, read_config, silence_libraries
from autoprune.encoders.loading import head_class, problem_type_of
from autoprune.errors import ModelError, first_line
from autoprune.export.formats import MODEL_FORMATS, length_batches, open_onnx_model
from autoprune.export.predict import TextTokenizer, TokenTensors, make_tokenizer
from autoprune.tasks.task import LabelledRows

ONNX_TOLERANCE = 1e-4  # the largest difference between torch's logits and onnxruntime's in fp32

_BATCHES = (1, 2, 7, 32)  # batch sizes in which logits are compared, in turn


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written.

    `difference` is the largest between logits of the file and of torch. `shortened` is true if the
    graph skips padding (see `onnx_graph`), which some model families do not allow.
    """

    difference: float
    shortened: bool


def export_onnx(folder: Path, rows: LabelledRows, file: Path) -> OnnxExport:
    """Write the saved model in `folder` as the ONNX model `file`, in fp32.

    Batch size and length are free, and the file is complete in itself. The shortened graph is taken
    if its logits are right, else the graph as it was traced. Raises `OptionError` without the extra
    `onnx`. Raises `ModelError`, and leaves no file, for a model that cannot be exported or whose
    logits on `rows` (at least one) differ from torch's by more than `ONNX_TOLERANCE`.
    """
    assert rows.texts, "logits are compared on texts"
    MODEL_FORMATS["onnx"].check_installed()
    try:
        with silence_libraries():
            return _export(folder, file, rows)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _export(folder: Path, file: Path, rows: LabelledRows) -> OnnxExport:
    from autoprune.export.onnx_graph import first_token_graph

    model, tokenize = _load(folder), make_tokenizer(folder)
    batches = []
    for part in length_batches(len(rows), _BATCHES):
        tokens = tokenize(rows.texts[part], rows.pairs and rows.pairs[part])
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
        return OnnxExport(difference, True)
    difference = _write(traced, file, batches)
    if not difference <= ONNX_TOLERANCE:  # also true for NaN
        raise ModelError(
            f"an ONNX model's logits must be within {ONNX_TOLERANCE:g} of torch's, these differ by "
            f"{difference:.2g}"
        )
    return OnnxExport(difference, False)


def _too_large(error: Exception) -> ModelError:
    """Return an error for a model above protobuf's 2 GB, for which protobuf has no error class."""
    return ModelError(
        f"cannot write the model as one ONNX file ({first_line(error)}): try --trim-vocabulary"
    )


def _load(folder: Path) -> PreTrainedModel:
    try:
        kind = head_class(problem_type_of(read_config(folder, trust_remote_code=False)))
        model: Any = kind.from_pretrained(
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
            f"({first_line(error)})"
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
