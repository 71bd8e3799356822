"""Prediction files: what is predicted of each text, as CSV or JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import DataError, OptionError
from autoprune.export.predict import Entity, Predictor
from autoprune.files import atomic_file, is_file, is_folder, path_exists
from autoprune.tasks.formats import StreamedRow

PROBABILITY_DIGITS = 6

_OTHER_FORMATS = (".xlsx", ".xls", ".ods", ".parquet", ".tsv")

_FORMULA = tuple("=+-@\t\r")  # what begins a formula in a spreadsheet


class TextOutput(Protocol):
    """What predictions are written to."""

    def write(self, text: str, /) -> object:
        """Write a text."""


RowWriter = Callable[[Any], object]  # takes a `RowPrediction`


def check_prediction_paths(file: Path | None, out: Path | None) -> None:
    """Raise `OptionError` where `file` cannot be read or `out` cannot be written, before work.

    None is standard input for `file`, and standard output for `out`. An `out` whose name ends like
    a file of another format is refused too.
    """
    if file is not None and not is_file(file):
        raise OptionError(f"FILE must be a file with texts, {file} is none")
    if out is None:
        return
    if (end := out.suffix.lower()) in _OTHER_FORMATS:
        raise OptionError(
            f"--out must end in .csv or .jsonl, what is written is no {end}, got {out}"
        )
    if is_folder(out) or not is_folder(out.resolve().parent):
        raise OptionError(f"--out must be a file in a folder that exists, got {out}")
    if path_exists(out) and not is_file(out):  # a device or a pipe must not be replaced by a file
        raise OptionError(f"--out must be a file, {out} is none: leave it out and use >")
    if file is not None and path_exists(out) and out.samefile(file):
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
    columns = _COLUMNS[predictor.problem_type.name](predictor.labels)
    write_row = PREDICTION_FORMATS[format](columns, file)
    count = 0
    for probabilities in chain([first], predictions):
        write_row(probabilities)
        count += 1
    if count != read:  # else labels would stand beside other texts
        raise RuntimeError(f"{read} rows were read and {count} labels written")
    return count


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a prediction is written as: the names of the columns, and a row's values for CSV.

    `cells` takes a prediction and gives those of CSV, `entry` the value for a line of JSON.
    """

    names: Sequence[str]
    cells: Callable[[Any], Sequence[str]]
    entry: Callable[[Any], object]
    are_numbers: bool = False


def _rounded(value: float) -> float:
    return round(float(value), PROBABILITY_DIGITS)


def _digits(value: float) -> str:
    return f"{value:.{PROBABILITY_DIGITS}f}"


def _class_columns(labels: Sequence[str]) -> _Columns:
    """Write the label, its probability, and that of all labels."""

    def cells(probabilities: NDArray[np.float64]) -> list[str]:
        best = int(probabilities.argmax())
        return [labels[best], *map(_digits, (probabilities[best], *probabilities))]

    def entry(probabilities: NDArray[np.float64]) -> dict[str, object]:
        best = int(probabilities.argmax())
        return {
            "label": labels[best],
            "probability": _rounded(probabilities[best]),
            "probabilities": dict(zip(labels, map(_rounded, probabilities), strict=True)),
        }

    return _Columns(["label", "probability", *(f"p({label})" for label in labels)], cells, entry)


def _set_columns(labels: Sequence[str]) -> _Columns:
    """Write the labels with a probability above one half, and that of all."""

    def likely(probabilities: NDArray[np.float64]) -> list[str]:
        return [name for name, p in zip(labels, probabilities, strict=True) if p > 0.5]

    def entry(probabilities: NDArray[np.float64]) -> dict[str, object]:
        rounded = dict(zip(labels, map(_rounded, probabilities), strict=True))
        return {"labels": likely(probabilities), "probabilities": rounded}

    return _Columns(
        ["labels", *(f"p({label})" for label in labels)],
        lambda each: ["|".join(likely(each)), *map(_digits, each)],
        entry,
    )


def _number_columns(labels: Sequence[str]) -> _Columns:
    [name] = labels
    return _Columns(
        [name], lambda each: [_digits(each[0])], lambda each: {name: _rounded(each[0])}, True
    )


def _entity_columns(_: Sequence[str]) -> _Columns:
    """Write all entities of a text, in CSV as JSON in one cell."""

    def entry(entities: list[Entity]) -> list[dict[str, object]]:
        rounded = (each._replace(probability=_rounded(each.probability)) for each in entities)
        return [each._asdict() for each in rounded]

    return _Columns(
        ["entities"],
        lambda each: [json.dumps(entry(each), ensure_ascii=False)],
        lambda each: {"entities": entry(each)},
    )


_COLUMNS: dict[str, Callable[[Sequence[str]], _Columns]] = {
    "single_label_classification": _class_columns,
    "multi_label_classification": _set_columns,
    "regression": _number_columns,
    "token_classification": _entity_columns,
}
"""By the name of a problem type."""


def _csv_writer(columns: _Columns, file: TextOutput) -> RowWriter:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns.names)
    return lambda prediction: writer.writerow(columns.cells(prediction))


def _safe_csv_writer(columns: _Columns, file: TextOutput) -> RowWriter:
    """Write CSV in which no text is a formula to a spreadsheet: an apostrophe stands before it."""

    def safe(cell: str) -> str:
        return f"'{cell}" if cell[:1] in _FORMULA else cell

    def cells(prediction: Any) -> list[str]:
        found = list(columns.cells(prediction))
        return found if columns.are_numbers else list(map(safe, found))

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(list(map(safe, columns.names)))
    return lambda prediction: writer.writerow(cells(prediction))


def _json_writer(columns: _Columns, file: TextOutput) -> RowWriter:
    def write_row(prediction: Any) -> None:
        file.write(json.dumps(columns.entry(prediction), ensure_ascii=False) + "\n")

    return write_row


def prediction_entry(predictor: Predictor, prediction: Any) -> object:
    """Return the prediction of one row as JSON values."""
    return _COLUMNS[predictor.problem_type.name](predictor.labels).entry(prediction)


PREDICTION_FORMATS: dict[str, Callable[[_Columns, TextOutput], RowWriter]] = {
    "csv": _csv_writer,
    "csv-safe": _safe_csv_writer,
    "jsonl": _json_writer,
}
