"""Quality gate: formats are added to a folder, run by their own runtimes, and refused if worse."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import ModelError
from autoprune.evaluation.statistics import Interval, paired_interval, row_contributions
from autoprune.export.formats import (
    MODEL_FORMATS,
    TRANSFORMERS,
    ModelFormat,
    files_of_format,
    logits_at_words,
    open_onnx_model,
    predict_rows,
)
from autoprune.export.onnx import ONNX_TOLERANCE, export_onnx
from autoprune.export.predict import TokenTensors
from autoprune.export.quantization import (
    QUANTIZATIONS,
    calibration_tokens,
    quantize_onnx,
    to_float16,
    to_openvino,
)
from autoprune.export.reload import RELOAD_BATCH
from autoprune.export.verify import run_in_new_process
from autoprune.tasks.task import LabelledRows
from autoprune.training.metrics import METRICS, Labels
from autoprune.training.problem_types import ProblemType

RunFormat = Callable[[Mapping[str, object]], dict[str, Any]]  # as `verify.run_in_new_process`


@dataclass(frozen=True, slots=True, eq=False)
class GateRows:
    """What formats are measured on, none of it from the test split.

    On `sample` logits are compared, on `validation` with its `labels` quality by `metric`; `train`
    has the rows of calibration. `max_drop` is what a quantized format may lose, in hundredths.
    """

    sample: LabelledRows
    train: LabelledRows
    validation: LabelledRows
    labels: Labels
    problem_type: ProblemType
    metric: str
    max_drop: float = 1.0


@dataclass(frozen=True, slots=True)
class GateResult:
    """The formats that were added with a note on each, and a line on each that was refused."""

    notes: dict[str, str]
    refused: tuple[str, ...]


def add_formats(
    folder: Path, names: Sequence[str], rows: GateRows, run: RunFormat = run_in_new_process
) -> GateResult:
    """Add the formats `names` to the saved model in `folder`; what is refused leaves no file.

    Each is loaded in a new process by `run`: one in fp32 must have torch's logits, another torch's
    quality on validation but for `max_drop`. Raises `OptionError` for a package that is missing.
    """
    notes: dict[str, str] = {}
    refused: list[str] = []
    added = [name for name in names if name != TRANSFORMERS]
    for name in added:
        MODEL_FORMATS[name].check_installed()
    with tempfile.TemporaryDirectory(prefix="autoprune-export-") as scratch:
        gate = _Gate(folder, Path(scratch), rows, run)
        for name in added:
            file = folder / MODEL_FORMATS[name].file
            try:
                notes[name] = gate.add(name, file)
            except ModelError as error:
                refused.append(f"{name} is refused and nothing of it is left: {error}")
                for path in files_of_format(file):
                    path.unlink(missing_ok=True)
                if file.parent.is_dir() and not any(file.parent.iterdir()):
                    file.parent.rmdir()
    return GateResult(notes, tuple(refused))


class _Gate:
    """Writes formats of one model and measures them; the model in fp32 is traced once."""

    def __init__(self, folder: Path, scratch: Path, rows: GateRows, run: RunFormat) -> None:
        self.folder, self.scratch, self.rows, self.run = folder, scratch, rows, run

    @cached_property
    def traced(self) -> Path:
        """The model as ONNX in fp32; raises `ModelError`."""
        file = self.scratch / "model.onnx"
        export_onnx(self.folder, self.rows.sample, file)
        return file

    @cached_property
    def calibration(self) -> list[TokenTensors]:
        """The tokens of the calibration rows."""
        return calibration_tokens(self.folder, self.rows.train)

    def reference(self, rows: LabelledRows) -> NDArray[np.float32]:
        """Return torch's logits, in the batches in which a new process runs a format."""
        forward = MODEL_FORMATS[TRANSFORMERS].opener(self.folder / "model.safetensors")
        return predict_rows(forward, self.folder, rows, RELOAD_BATCH)

    @cached_property
    def contributions(self) -> NDArray[np.float64]:
        """What each validation row contributes to the quality of the model in torch, (rows,)."""
        return self._contributions(self.reference(self.rows.validation))

    def add(self, name: str, file: Path) -> str:
        """Write the format and return a note on it; raises `ModelError` where it is refused."""
        file.parent.mkdir(exist_ok=True)
        traced, way = self.traced, ""
        if name == "onnx":
            shutil.copyfile(traced, file)
        elif name == "onnx-fp16":
            to_float16(traced, file)
        elif name == "onnx-int8":
            way = self._choose_quantization(file)
        else:
            to_openvino(traced, file, self.calibration if name == "openvino-int8" else None)
            way = "calibrated on train rows" if name == "openvino-int8" else ""
        size = sum(path.stat().st_size for path in files_of_format(file))
        found = self._check(MODEL_FORMATS[name], file)
        what = ", ".join(filter(None, (f"{MODEL_FORMATS[name].file}: {size / 1e6:.1f} MB", way)))
        return f"{what}; {found}"

    def _check(self, format: ModelFormat, file: Path) -> str:
        """Run the format in a new process and return what was found; raises `ModelError`."""
        rows = self.rows.validation if format.quantized else self.rows.sample
        arguments = {"file": str(file), "texts": rows.texts, "pairs": rows.pairs}
        result = self.run({"folder": str(self.folder), **arguments})
        if "error" in result:
            raise ModelError(f"its runtime does not run it: {result['error']}")
        found = [np.array(row, dtype=np.float32) for row in result["logits"]]
        logits = logits_at_words(self.folder, rows, found) if rows.by_word else np.stack(found)
        if format.quantized:
            return self._check_quality(logits)
        gap = float(np.abs(logits - self.reference(rows)).max())
        if not gap <= ONNX_TOLERANCE:  # also true for NaN
            raise ModelError(
                f"its logits must be within {ONNX_TOLERANCE:g} of torch's, they differ by {gap:.2g}"
            )
        return f"logits within {gap:.0e} of torch's in a new process"

    def _check_quality(self, logits: NDArray[np.float32]) -> str:
        change, metric = self._change(logits), METRICS[self.rows.metric]
        mean, low, high = (
            f"{metric.scale * value:+.{metric.digits}f}".replace("-", "\u2212")
            for value in (change.mean, change.low, change.high)
        )
        found = f"{mean} {metric.unit}{metric.note} on validation (95 % interval {low} to {high})"
        if not -100 * change.mean <= self.rows.max_drop:  # also true for NaN
            allowed = metric.threshold(self.rows.max_drop)
            raise ModelError(f"{found}, --max-quantization-drop allows {allowed:g}")
        return found

    def _choose_quantization(self, file: Path) -> str:
        """Write the best of the grid; return what it is and how many there were."""
        changes: dict[int, float] = {}
        error = ModelError("no quantization was tried")
        for number, way in enumerate(QUANTIZATIONS):
            small = self.scratch / f"{number}.onnx"
            try:
                quantize_onnx(self.traced, small, way, self.calibration)
                forward = open_onnx_model(small)
                found = predict_rows(forward, self.folder, self.rows.validation, RELOAD_BATCH)
            except ModelError as failure:
                error = failure
                continue
            changes[number] = self._change(found).mean
        if not changes:
            raise error
        # Of those that are within half of what may be lost of the best, the first of the grid.
        least = max(changes.values()) - self.rows.max_drop / 200
        chosen = next(number for number, change in changes.items() if change >= least)
        shutil.move(self.scratch / f"{chosen}.onnx", file)
        return f"{QUANTIZATIONS[chosen]} (chosen on validation among {len(changes)} ways)"

    def _change(self, logits: NDArray[np.float32]) -> Interval:
        """Return the change of quality from torch's on validation, with its paired interval."""
        if not np.isfinite(logits).all():
            raise ModelError("its logits are not finite numbers")
        return paired_interval(self._contributions(logits)[None], self.contributions[None])

    def _contributions(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = self.rows
        predictions = rows.problem_type.predict(logits)
        return row_contributions(METRICS[rows.metric], rows.labels, predictions)
