"""Parquet and Arrow files: read a few rows at once, and refuse a decompression bomb."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoprune.errors import DataError, first_line, format_path, quote
from autoprune.tasks.table import DataTable, Row, check_column_names
from autoprune.tasks.text_lines import unreadable

_KEY = b"huggingface"  # of the schema's metadata, in Parquet and Arrow files alike

_ROWS = 1024  # read at once

_MOST_ROWS = 1_000_000  # that a file may have whatever its size; else at most one for each byte

_MAX_SIZE = 256 << 20  # bytes that a file may hold whatever its size

_MAX_RATIO = 1000  # of what a file holds to its size; texts that are not repeated reach 50


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the names of each column that is a `datasets.ClassLabel`, in their own order.

    `metadata` is that of a schema. What is not of the expected form names nothing.
    """
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
        # A list of them says what is in it by `feature`.
        inner = {column: feature.get("feature", feature) for column, feature in features.items()}
        found = {
            column: tuple(feature["names"])
            for column, feature in inner.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in found.items()
        if names and all(isinstance(name, str) for name in names)
    }


def class_metadata(classes: Mapping[str, Sequence[str]]) -> dict[bytes, bytes]:
    """Return the metadata of a schema from which `class_names` reads `classes`."""
    features = {
        column: {"names": list(names), "_type": "ClassLabel"} for column, names in classes.items()
    }
    return {_KEY: json.dumps({"info": {"features": features}}).encode()}


def open_parquet(path: Path) -> DataTable:
    """Return the table of a Parquet file. Raises `DataError`, as do its rows when they are read."""
    origin, size = format_path(path), path.stat().st_size
    if size == 0:
        raise DataError(f"{origin} is empty, a Parquet file with rows is needed")
    with _open_file(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
    check_column_names(origin, schema.names)
    check_rows(origin, size, count)

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        texts = [name for name in selected if check_type(origin, name, schema.field(name).type)]
        # A few bytes can stand for a list of a billion numbers.
        lists = [name for name in selected if schema.field(name).type.num_fields == 1]
        with _open_file(path, texts) as file:
            _check_size(origin, size, _uncompressed_size(file.metadata, selected))
            _check_size(origin, size, _list_bytes(file.metadata, lists))
            number = total = 0
            for batch in file.iter_batches(_ROWS, columns=list(selected)):
                batch.validate(full=True)  # of a damaged file
                columns = {name: batch[name] for name in selected}
                for values in zip(*column_values(origin, columns).values(), strict=True):
                    number += 1
                    total += sum(len(value) for value in values if isinstance(value, str))
                    yield f"row {number}", values
                _check_size(origin, size, total)

    return DataTable(origin, schema.names, rows, class_names(schema.metadata))


def column_values(origin: str, columns: Mapping[str, Any]) -> dict[str, list[object]]:
    """Return the values of Arrow columns, those of a dictionary without a copy of each.

    Raises `DataError` for what Python cannot represent (a date after the year 9999).
    """
    import pyarrow  # type: ignore[import-untyped]

    found = {}
    for name, column in columns.items():
        try:
            if isinstance(column, pyarrow.DictionaryArray):
                entries = [*column.dictionary.to_pylist(), None]
                indices = column.indices.fill_null(len(entries) - 1).to_pylist()
                found[name] = [entries[index] for index in indices]
            else:
                found[name] = column.to_pylist()
        except (OverflowError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"column {quote(name)} of {origin} cannot be read: {first_line(error)}; "
                "write it as text"
            ) from error
    return found


def check_rows(origin: str, size: int, count: int) -> None:
    """Raise `DataError` where a file of `size` bytes claims more rows than it can hold."""
    if count > max(_MOST_ROWS, size):
        raise DataError(
            f"{origin} must not be far larger than its file, it claims {count:,} rows in "
            f"{size:,} bytes: check where it comes from"
        )


def check_type(origin: str, name: str, kind: Any) -> bool:
    """Return whether the values of a column are texts; raises `DataError` for what is nested.

    Lists of texts and of whole numbers are words, tags or several labels.
    """
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        inner = kind.value_type
        if types.is_string(inner) or types.is_large_string(inner) or types.is_integer(inner):
            return False
    if types.is_nested(kind) or types.is_fixed_size_binary(kind):
        raise DataError(
            f"column {quote(name)} of {origin} must hold texts, it has {quote(kind)}: "
            "write it as text"
        )
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


@contextmanager
def _open_file(path: Path, texts: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file; the columns `texts` are read as dictionaries, repeated values once."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, read_dictionary=list(texts)) as file:
            yield file
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{format_path(path)} must be a Parquet file: {first_line(error)}; fetch it again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _uncompressed_size(metadata: Any, names: Sequence[str]) -> int:
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(metadata.num_columns)):
            if column.path_in_schema in names:
                total += column.total_uncompressed_size
    return total


def _list_bytes(metadata: Any, names: Sequence[str]) -> int:
    """Return how many bytes the numbers or texts in the lists of some columns take at least."""
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(metadata.num_columns)):
            if column.path_in_schema.partition(".")[0] in names:
                total += 8 * column.num_values
    return total


def _check_size(origin: str, size: int, content: int) -> None:
    if content > max(_MAX_SIZE, _MAX_RATIO * size):
        raise DataError(
            f"{origin} must not be far larger than its file, it holds {content:,} bytes or more "
            f"in {size:,}: check where it comes from"
        )


def open_arrow(path: Path) -> DataTable:
    """Return the table of an Arrow file (stream or file format), memory-mapped.

    Raises `DataError`, as do its rows when they are read.
    """
    import pyarrow

    origin = format_path(path)
    try:
        source = pyarrow.memory_map(str(path))
        try:
            data = pyarrow.ipc.open_stream(source).read_all()
        except pyarrow.ArrowInvalid:
            source.seek(0)
            data = pyarrow.ipc.open_file(source).read_all()
        data.validate()
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{origin} must be an Arrow file: {first_line(error)}; save the data set again"
        ) from error
    check_column_names(origin, data.column_names)
    check_rows(origin, path.stat().st_size, data.num_rows)
    return arrow_table(origin, data, class_names(data.schema.metadata))


def arrow_table(origin: str, data: Any, classes: Mapping[str, Sequence[str]]) -> DataTable:
    """Return the table of a `pyarrow.Table`; `classes` are those of its class labels.

    Raises `DataError` where it has no rows.
    """

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        for name in selected:
            check_type(origin, name, data.schema.field(name).type)
        columns = column_values(origin, {name: data[name] for name in selected})
        for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
            yield f"row {number}", values

    if not data.num_rows:
        raise DataError(f"{origin} must have rows, got none")
    return DataTable(origin, data.column_names, rows, classes)
