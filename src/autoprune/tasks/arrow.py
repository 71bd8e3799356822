"""Arrow: the files of `save_to_disk`, and the tables of the datasets library."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoprune.errors import DataError, first_line, format_path
from autoprune.tasks.class_labels import class_names
from autoprune.tasks.parquet_files import check_rows, check_type, column_values
from autoprune.tasks.table import DataTable, Row, check_column_names


def open_arrow(path: Path) -> DataTable:
    """Return the table of an Arrow file (stream or file format), memory-mapped.

    Raises `DataError`, as do its rows when they are read.
    """
    import pyarrow  # type: ignore[import-untyped]

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
