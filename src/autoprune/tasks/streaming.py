"""Streaming: read the texts of a file of any size one after another, without labels."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from autoprune.errors import DataError, OptionError, first_line, format_path, quote
from autoprune.tasks.formats import (
    TEXT_SPELLINGS,
    check_column_names,
    check_file,
    csv_rows,
    find_column,
    json_rows,
    value_to_text,
)

_PARQUET_ROWS = 1024  # read at once

StreamedRow = tuple[str, str | None]  # a text, and the second text where a row has two

_Values = Iterator[tuple[str, Sequence[object]]]  # the location of a row, and its selected values

_Select = Callable[[Sequence[str]], list[str]]  # from a file's columns to the selected ones


def stream_rows(path: Path, text: str | None, pair: str | None) -> Iterator[StreamedRow]:
    """Yield the texts of a CSV, TSV, JSON-lines or Parquet file; else each line is a text.

    `text` and `pair` name columns; without `text` the known spellings are tried. White space around
    a text is removed, null is an empty text. Raises `DataError` with the location when it reaches
    the row, and `OptionError` for a column of a file without columns.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None and (text, pair) != (None, None):
        raise OptionError(
            f"--text and --text-pair are for files with columns ({', '.join(_READERS)}), "
            f"{format_path(path)} has a text a line"
        )

    def select(names: Sequence[str]) -> list[str]:
        check_column_names(path, names)
        origin = format_path(path)
        selected = [find_column(names, origin, "text", text, TEXT_SPELLINGS)]
        return selected + ([find_column(names, origin, "text-pair", pair)] if pair else [])

    lines = ((f"line {number}", (line,)) for number, line in enumerate(_text_lines(path), start=1))
    return _to_texts(path, lines if reader is None else reader(path, select))


def _to_texts(path: Path, rows: _Values) -> Iterator[StreamedRow]:
    check_file(path)
    location, subject = "its start", format_path(path)
    try:
        for location, values in rows:
            first, *second = (value_to_text(value, subject, location) for value in values)
            yield first, second[0] if second else None
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise DataError(f"{subject} must be readable, got: {reason}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{subject} must be UTF-8, after {location} it is not: save it as UTF-8"
        ) from error


def _text_lines(path: Path) -> Iterator[str]:
    # Only "\n" ends a line: texts may hold other separators.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        yield from file


def _read_csv(path: Path, select: _Select, separator: str = ",") -> _Values:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv_rows(path, file, separator)
        _, names = next(rows, ("", []))
        indices = [names.index(name) for name in select(names)]
        for location, row in rows:
            yield location, [row[index] for index in indices]


def _read_json_lines(path: Path, select: _Select) -> _Values:
    names: list[str] = []
    for location, row in json_rows(path, _text_lines(path)):
        names = names or select(list(row))
        for name in names:
            if name not in row:
                raise DataError(f"{format_path(path)} has no {quote(name)} in {location}")
        yield location, [row[name] for name in names]


def _read_parquet(path: Path, select: _Select) -> _Values:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = select(file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=names):
                for values in zip(*(batch[name].to_pylist() for name in names), strict=True):
                    number += 1
                    yield f"row {number}", values
    except pyarrow.ArrowException as error:
        raise DataError(
            f"{format_path(path)} must be a Parquet file: {first_line(error)}"
        ) from error


_READERS: dict[str, Callable[[Path, _Select], _Values]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, separator="\t"),
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}
