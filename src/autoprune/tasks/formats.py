"""File formats: open or stream a CSV, TSV, JSON-lines or Parquet file as named columns."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from autoprune.errors import DataError, OptionError, first_line, format_path, quote
from autoprune.tasks.csv_files import open_csv
from autoprune.tasks.parquet_files import open_parquet
from autoprune.tasks.table import (
    MISSING,
    DataTable,
    MissingColumnError,
    Row,
    check_column_names,
    find_texts,
    value_to_text,
)
from autoprune.tasks.tags import CONLL_SUFFIXES, open_conll
from autoprune.tasks.task import Columns
from autoprune.tasks.text_lines import decode_lines, read_lines, unreadable

SPREADSHEETS = {".xlsx", ".xls", ".ods"}  # not read; the message says what to do


def open_table(path: Path) -> DataTable:
    """Open one data file; its suffix names the format.

    Each text is read as it is written: no word means a missing value. Raises `DataError` for files
    that are empty, not UTF-8, binary or cut off; so do the rows of the table when they are read.
    """
    opener = READERS.get(path.suffix.lower())
    if opener is None:
        hint = ": save the sheet as CSV (UTF-8)" if path.suffix.lower() in SPREADSHEETS else ""
        raise DataError(f"data files end in {', '.join(READERS)}, got {format_path(path)}{hint}")
    check_file(path)
    try:
        return opener(path)
    except OSError as error:
        raise unreadable(path, error) from error


def check_file(path: Path) -> None:
    """Raise `DataError` where `path` is not a regular file; reading a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise DataError(f"{format_path(path)} must be a file, it is none: name a file with rows")


def _open_json_lines(path: Path) -> DataTable:
    origin = format_path(path)
    first = next(_json_rows(path), None)
    if first is None:
        raise DataError(f"{origin} is empty, rows are needed")

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        for location, row in _json_rows(path):
            yield location, [row.get(name, MISSING) for name in selected]

    return DataTable(origin, list(first[1]), rows)


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows of a JSON-lines file, each with its location; empty lines are skipped.

    Raises `DataError` for a line that is not one JSON object.
    """
    origin = format_path(path)

    def to_dict(pairs: list[tuple[str, object]]) -> dict[str, object]:
        check_column_names(origin, [name for name, _ in pairs])
        return dict(pairs)

    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        location = f"line {number}"
        try:
            row = json.loads(line, object_pairs_hook=to_dict)
        except (ValueError, RecursionError) as error:
            # Without the error's own location, which counts within the line.
            reason = error.msg if isinstance(error, json.JSONDecodeError) else first_line(error)
            raise DataError(
                f"{origin} must hold one JSON object a line, {location}: {reason}; "
                "correct that line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{origin} must hold one JSON object a line, {location} is "
                f"{quote(line.strip())}: write one object for each row, each on its own line"
            )
        yield location, row


READERS: dict[str, Callable[[Path], DataTable]] = {
    ".csv": open_csv,
    ".tsv": partial(open_csv, separator="\t"),
    ".jsonl": _open_json_lines,
    ".json": _open_json_lines,
    ".parquet": open_parquet,
    **dict.fromkeys(CONLL_SUFFIXES, open_conll),
}

StreamedRow = tuple[str, str | None]  # a text, and the second text where a row has two


def stream_file(
    path: Path, text: str | None, pair: str | None
) -> tuple[Iterator[StreamedRow], tuple[str, ...]]:
    """Return the texts of a CSV, TSV, JSON-lines, Parquet or CoNLL file, and how they are read.

    In another file each line is a text. `text` and `pair` name columns; without `text` the known
    spellings are tried, and a file of one column has it as text. White space around a text is
    removed, null is an empty text. Raises `DataError`, with the location when it reaches a row, and
    `OptionError` for a column of a file without columns.
    """
    if path.suffix.lower() not in READERS:
        if (text, pair) != (None, None):
            raise OptionError(
                f"--text and --text-pair are for files with columns ({', '.join(READERS)}), "
                f"{format_path(path)} has a text a line"
            )
        check_file(path)
        return _to_texts([format_path(path)], _locate(read_lines(path))), ()
    table = open_table(path)
    is_only = text is None and len(table.names) == 1 and not _is_text(table.names[0])
    only = table.names[0] if is_only else None
    columns = Columns(text=only or text, pair=pair)
    try:
        column, second = find_texts(table, columns)
    except MissingColumnError:  # then that of words, as in files with a tag for each
        column, second = find_texts(table, columns, "token_classification")
    selected = [column] if second is None else [column, second]
    chosen = (f"{table.origin}: text from column {quote(column)}",) if text is None else ()
    subjects = [f"column {quote(name)} of {table.origin}" for name in selected]
    return _to_texts(subjects, table.rows(selected)), (*chosen, *table.notes)


def stream_lines(stream: IO[bytes], origin: str) -> Iterator[StreamedRow]:
    """Yield each line of a stream as a text; raises `DataError` for what is not UTF-8."""
    return _to_texts([origin], _locate(decode_lines(stream, origin)))


def _locate(lines: Iterable[str]) -> Iterator[Row]:
    return ((f"line {number}", (line,)) for number, line in enumerate(lines, start=1))


def _to_texts(subjects: Sequence[str], rows: Iterable[Row]) -> Iterator[StreamedRow]:
    for location, values in rows:
        first, *second = (
            " ".join(value_to_text(each, subject, location) for each in value)
            if isinstance(value, list)
            else value_to_text(value, subject, location)
            for value, subject in zip(values, subjects, strict=True)
        )
        yield first, second[0] if second else None


def _is_text(name: str) -> bool:
    """Return whether the name of a column is rather a text, in a file without a header."""
    return len(name) > 40 or len(name.split()) > 4
