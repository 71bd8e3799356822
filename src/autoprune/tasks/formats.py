"""File formats: open a CSV, TSV, JSON-lines or Parquet file as a table of named columns."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from autoprune.errors import DataError, first_line, format_path, quote
from autoprune.tasks.csv_files import open_csv
from autoprune.tasks.parquet_files import open_parquet
from autoprune.tasks.table import MISSING, DataTable, Row, check_column_names
from autoprune.tasks.text_lines import read_lines, unreadable


def open_table(path: Path) -> DataTable:
    """Open one data file; its suffix names the format.

    Each text is read as it is written: no word means a missing value. Raises `DataError` for files
    that are empty, not UTF-8, binary or cut off; so do the rows of the table when they are read.
    """
    opener = READERS.get(path.suffix.lower())
    if opener is None:
        raise DataError(f"data files end in {', '.join(READERS)}, got {format_path(path)}")
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
            raise DataError(
                f"{origin} must hold one JSON object a line, {location}: "
                f"{first_line(error)}; correct that line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{origin} must hold one JSON object a line, {location} is "
                f"{quote(line.strip())}: write each row as an object on a line of its own"
            )
        yield location, row


READERS: dict[str, Callable[[Path], DataTable]] = {
    ".csv": open_csv,
    ".tsv": partial(open_csv, separator="\t"),
    ".jsonl": _open_json_lines,
    ".json": _open_json_lines,
    ".parquet": open_parquet,
}
