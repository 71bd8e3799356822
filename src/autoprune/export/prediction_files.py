"""Prediction files: the label and the probabilities of each text, as CSV or JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import DataError, OptionError
from autoprune.export.predict import Predictor
from autoprune.files import atomic_file
from autoprune.tasks.formats import StreamedRow

PROBABILITY_DIGITS = 6

_FORMULA = tuple("=+-@\t\r")  # what begins a formula in a spreadsheet


class TextOutput(Protocol):
    """What predictions are written to."""

    def write(self, text: str, /) -> object:
        """Write a text."""


RowWriter = Callable[[NDArray[np.float64]], object]  # takes the probabilities of one row, (labels,)


def check_prediction_paths(file: Path | None, out: Path | None) -> None:
    """Raise `OptionError` where `file` cannot be read or `out` cannot be written, before work.

    None is standard input for `file`, and standard output for `out`.
    """
    if file is not None and not file.is_file():
        raise OptionError(f"FILE must be a file with texts, {file} is none")
    if out is None:
        return
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise OptionError(f"--out must be a file in a folder that exists, got {out}")
    if out.exists() and not out.is_file():  # a device or a pipe must not be replaced by a file
        raise OptionError(f"--out must be a file, {out} is none: leave it out and use >")
    if file is not None and out.exists() and out.samefile(file):
        raise OptionError(f"--out must be another file than that of the texts, {out}")


def write_prediction_file(
    predictor: Predictor, rows: Iterable[StreamedRow], batch: int, format: str, out: Path
) -> int:
    """Write predictions to the file `out`, completely or not at all; return the number of rows.

    Raises `OptionError` where `out` cannot be written, and what `write_predictions` raises.
    """
    try:
        with (
            atomic_file(out.resolve()) as temporary,  # resolved: a symbolic link stays one
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            return write_predictions(predictor, rows, batch, format, file)
    except OSError as error:
        raise OptionError(f"cannot write {out}: {error.strerror or error}") from error


def write_predictions(
    predictor: Predictor, rows: Iterable[StreamedRow], batch: int, format: str, file: TextOutput
) -> int:
    """Write the prediction of each row to `file` in a format of `PREDICTION_FORMATS`.

    Returns the number of rows. Raises `DataError` where there are none, before anything is written.
    """
    read = 0

    def counted() -> Iterator[StreamedRow]:
        nonlocal read
        for row in rows:
            read += 1
            yield row

    predictions = predictor(counted(), batch)
    first = next(predictions, None)
    if first is None:
        raise DataError("the file has no texts")
    write_row = PREDICTION_FORMATS[format](predictor.labels, file)
    count = 0
    for probabilities in chain([first], predictions):
        write_row(probabilities)
        count += 1
    if count != read:  # else labels would stand beside other texts
        raise RuntimeError(f"{read} rows were read and {count} labels written")
    return count


def _csv_writer(labels: Sequence[str], file: TextOutput) -> RowWriter:
    """Write a header; each row has its label, its probability, and that of all labels."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["label", "probability", *(f"p({label})" for label in labels)])

    def write_row(probabilities: NDArray[np.float64]) -> None:
        best = int(probabilities.argmax())
        values = (probabilities[best], *probabilities)
        writer.writerow([labels[best], *(f"{value:.{PROBABILITY_DIGITS}f}" for value in values)])

    return write_row


def _safe_csv_writer(labels: Sequence[str], file: TextOutput) -> RowWriter:
    """Write CSV in which no label is a formula to a spreadsheet: an apostrophe stands before it."""
    return _csv_writer([f"'{label}" if label[:1] in _FORMULA else label for label in labels], file)


def _json_writer(labels: Sequence[str], file: TextOutput) -> RowWriter:
    def write_row(probabilities: NDArray[np.float64]) -> None:
        file.write(json.dumps(prediction_entry(labels, probabilities), ensure_ascii=False) + "\n")

    return write_row


def prediction_entry(labels: Sequence[str], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Return the prediction of one row, (labels,), as JSON values."""
    best = int(probabilities.argmax())
    rounded = [round(float(value), PROBABILITY_DIGITS) for value in probabilities]
    return {
        "label": labels[best],
        "probability": rounded[best],
        "probabilities": dict(zip(labels, rounded, strict=True)),
    }


PREDICTION_FORMATS: dict[str, Callable[[Sequence[str], TextOutput], RowWriter]] = {
    "csv": _csv_writer,
    "csv-safe": _safe_csv_writer,
    "jsonl": _json_writer,
}
