"""Running a model that was exported to ONNX, with onnxruntime."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.artifacts.batches import Tokens, tokenising
from autoprune.encoders.folder import first_line
from autoprune.errors import ModelError, OptionError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_extra() -> None:
    """Raise `OptionError` where the packages of the extra `onnx` are not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError(
            f"ONNX needs packages that are not here ({', '.join(missing)}): "
            "pip install 'autoprune[onnx]'"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A model in onnxruntime."""

    session: Any
    names: tuple[str, ...]

    def __call__(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the logits of a batch, (rows, classes); what the model does not take is left."""
        found = self.session.run(["logits"], {name: tokens[name] for name in self.names})
        return np.asarray(found[0], dtype=np.float32)


def open_model(file: Path) -> Running:
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
    return Running(session, tuple(one.name for one in session.get_inputs()))


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
    model, tokenise = open_model(file), tokenising(folder)
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = []
    for start in range(0, len(texts), batch):
        rows = order[start : start + batch]
        second = None if pairs is None else [pairs[row] for row in rows]
        found.append(model(tokenise([texts[row] for row in rows], second)))
    logits = np.concatenate(found)
    return logits[np.argsort(order)]
