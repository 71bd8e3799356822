"""Streaming: the texts of a file of any size, one after another, without labels."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from autoprune.errors import DataError, OptionError, first_line, format_path, quote
from autoprune.tasks.formats import TEXT_SPELLINGS, RawTable, check_file, require_column

_LONGEST_FIELD = 2**31 - 1

_PARQUET_ROWS = 1024  # read at once

StreamedRow = tuple[str, str | None]  # a text, and the second text where a row has two

_Read = Iterator[tuple[str, Sequence[object]]]  # where a row stands, and its values

_Names = Callable[[Sequence[str]], Sequence[str]]  # of a file's columns those that are wanted


def stream_rows(path: Path, text: str | None, pair: str | None) -> Iterator[StreamedRow]:
    """Yield the texts of a CSV, TSV, JSON-lines or Parquet file, else a text a line.

    `text` and `pair` name columns; without `text` the known spellings are looked for. Outer white
    space is stripped, null is an empty text. Raises `DataError` with the place, when it gets there;
    `OptionError` for a column of a file without columns.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None and (text, pair) != (None, None):
        raise OptionError(
            f"--text and --text-pair are for files with columns ({', '.join(_READERS)}), "
            f"{format_path(path)} has a text a line"
        )

    def chosen(names: Sequence[str]) -> Sequence[str]:
        table = RawTable(format_path(path), dict.fromkeys(names, ()), ())
        if len(table.columns) < len(names):
            raise DataError(f"{format_path(path)} must name each column once")
        first = require_column(table, "text", text, TEXT_SPELLINGS)
        return [first] if pair is None else [first, require_column(table, "text-pair", pair, ())]

    return _rows(path, _lines(path) if read is None else read(path, chosen))


def _rows(path: Path, read: _Read) -> Iterator[StreamedRow]:
    check_file(path)
    place = "its start"
    try:
        for place, values in read:
            first, *second = (_text(path, place, value) for value in values)
            yield first, second[0] if second else None
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise DataError(f"{format_path(path)} must be readable, got: {reason}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{format_path(path)} must be UTF-8, after {place} it is not: save it as UTF-8"
        ) from error


def _text(path: Path, place: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{format_path(path)} must hold texts, {place} has {type(value).__name__} {quote(value)}"
        )
    text = value.strip()
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(
            f"{format_path(path)} must hold texts, {place} has a NUL or half a character"
        )
    return text


def _lines(path: Path) -> _Read:
    # Only "\n" ends a line: texts may hold other separators.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield f"line {number}", (line,)


def _separated(separator: str) -> Callable[[Path, _Names], _Read]:
    def read(path: Path, chosen: _Names) -> _Read:
        csv.field_size_limit(_LONGEST_FIELD)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            try:
                names = [name.strip() for name in next((row for row in reader if row), [])]
                places = [names.index(name) for name in chosen(names)]
                for row in filter(None, reader):
                    place = f"line {reader.line_num}"
                    if len(row) != len(names):
                        raise DataError(
                            f"{format_path(path)} has {len(names)} columns, {place} has {len(row)}"
                        )
                    yield place, [row[at] for at in places]
            except csv.Error as error:
                raise DataError(
                    f"{format_path(path)} has broken quotes, line {reader.line_num}: {first_line(error)}"
                ) from error

    return read


def _json_lines(path: Path, chosen: _Names) -> _Read:
    names: Sequence[str] | None = None
    for place, (line,) in _lines(path):
        assert isinstance(line, str), "a line is a text"
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, {place}: {first_line(error)}"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, {place} is another"
            )
        names = names or chosen(list(row))
        lacking = [name for name in names if name not in row]
        if lacking:
            raise DataError(f"{format_path(path)} has no {quote(lacking[0])} in {place}")
        yield place, [row[name] for name in names]


def _parquet(path: Path, chosen: _Names) -> _Read:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = list(chosen(file.schema_arrow.names))
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=names):
                for values in zip(*(batch[name].to_pylist() for name in names), strict=True):
                    number += 1
                    yield f"row {number}", values
    except pyarrow.ArrowException as error:
        raise DataError(
            f"{format_path(path)} must be a Parquet file: {first_line(error)}"
        ) from error


_READERS: dict[str, Callable[[Path, _Names], _Read]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
}
