"""In-memory data: DataFrames and data sets of the datasets library, stored as Parquet files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune.errors import DataError, OptionError, first_line, join_names, quote
from autoprune.files import atomic_folder, validate_study_name
from autoprune.tasks.folders import SPLIT_SPELLINGS, SPLITS, check_split_names
from autoprune.tasks.labels import order_labels
from autoprune.tasks.parquet_files import class_metadata
from autoprune.tasks.table import DataTable, find_used
from autoprune.tasks.task import Columns

_ANY_COLUMNS = Columns()

_FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError)  # pyarrow's too

TableOfRows = Any
"""A pandas DataFrame or a `datasets.Dataset`."""

Rows = TableOfRows | Mapping[str, TableOfRows]
"""The train rows, or several splits by name: a dict of tables, or a `datasets.DatasetDict`."""


def save_rows(
    folder: Path,
    name: str,
    rows: Rows,
    columns: Columns = _ANY_COLUMNS,
    problem_type: str | None = None,
) -> Path:
    """Store rows as Parquet files below `folder`; return the task's own folder.

    The folder's name is `name` and a hash of the rows, so the same rows are stored once. Label
    numbers of a `datasets.ClassLabel` are stored as their names, with the order of these. A column
    that Parquet cannot hold is left out where neither `columns` nor `problem_type` ask for it.
    Raises `DataError`.
    """
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        validate_study_name(name)
    except OptionError:
        raise DataError(
            "beside train, task is a name for these rows, of letters, digits and any of . _ + @ = "
            f"-, got {quote(name[:60])}"
        ) from None
    splits = _splits_of(rows) if isinstance(rows, Mapping) else {"train": rows}
    stored = {}
    for split, table in splits.items():
        try:
            stored[split] = _arrow_table(table)
        except _FAILURES:
            if not (hasattr(table, "iloc") and hasattr(table, "columns")):
                raise
            stored[split] = _used_columns(split, table, columns, problem_type)
    digest = hashlib.sha256()
    for split, table in stored.items():
        digest.update(f"{split} {table.schema.to_string()} {table.to_pylist()!r}".encode())
        # The names of classes, also within lists, which the schema's text leaves out.
        digest.update((table.schema.metadata or {}).get(b"huggingface", b""))
    task = folder / f"{name}-{digest.hexdigest()[:8]}"
    if not task.is_dir():
        try:
            with atomic_folder(task) as draft:
                for split, table in stored.items():
                    pyarrow.parquet.write_table(table, draft / f"{split}.parquet")
        except OptionError:  # another process has stored the same rows meanwhile
            if not task.is_dir():
                raise
    return task


def _splits_of(tables: Mapping[str, TableOfRows]) -> dict[str, TableOfRows]:
    """Return the splits of a DatasetDict by our names."""
    check_split_names("a data set", list(tables))
    splits = {SPLIT_SPELLINGS.get(name, name): table for name, table in tables.items()}
    if "train" not in splits:
        raise DataError(f"a data set needs a split train, got {', '.join(map(str, tables))}")
    for name in splits:
        if name not in SPLITS:
            raise DataError(
                f"a data set has the splits {join_names(SPLITS)}, got {quote(name)}: rename it or "
                "leave it out"
            )
    return {name: splits[name] for name in SPLITS if name in splits}


def _arrow_table(table: TableOfRows) -> Any:
    """Return the rows as a pyarrow Table."""
    import pyarrow.parquet

    if hasattr(table, "with_format") and hasattr(table, "num_rows"):  # a datasets.Dataset
        arrow = table.with_format("arrow")[:]
        classes = {}
        for index, (name, feature) in enumerate(table.features.items()):
            if hasattr(feature, "int2str"):  # a ClassLabel; -1 stands for no label
                labels = [
                    None if number is None or number < 0 else feature.int2str(number)
                    for number in arrow.column(name).to_pylist()
                ]
                arrow = arrow.set_column(index, name, pyarrow.array(labels, pyarrow.string()))
                # Not of names in the usual order: the same rows keep the folder that they have.
                if order_labels(feature.names) != tuple(feature.names):
                    classes[name] = feature.names
            elif names := getattr(getattr(feature, "feature", None), "names", None):
                classes[name] = names  # of the numbers in a list, which stay
        return arrow.replace_schema_metadata(class_metadata(classes) if classes else None)
    if hasattr(table, "iloc") and hasattr(table, "columns"):  # a pandas DataFrame
        arrow = pyarrow.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
        # Parquet cannot hold each type that Arrow has.
        pyarrow.parquet.write_table(arrow.schema.empty_table(), pyarrow.BufferOutputStream())
        return arrow
    raise DataError(f"rows must be a DataFrame or a datasets.Dataset, got {type(table).__name__}")


def _used_columns(split: str, frame: Any, columns: Columns, problem_type: str | None) -> Any:
    """Return the columns of a DataFrame that can be stored; raises `DataError` for one in use."""
    import pyarrow

    names = [str(name) for name in frame.columns]
    origin = f"the DataFrame {split}"
    found = DataTable(origin, list(dict.fromkeys(names)), lambda _: iter(()))
    used = find_used(found, columns, problem_type)
    stored = {}
    for place, name in enumerate(names):
        is_twice = names.count(name) > 1
        if is_twice and name in used:
            raise DataError(f"{origin} has two columns {quote(name)}: rename one of them")
        try:
            if not is_twice:
                stored[name] = _arrow_table(frame.iloc[:, [place]]).column(0)
        except _FAILURES as error:
            if name in used:
                # pyarrow gives a second text, that the conversion failed.
                cause = ValueError(error.args[0]) if len(error.args) == 2 else error
                raise DataError(
                    f"column {quote(name)} of {origin} cannot be stored: {first_line(cause)}; "
                    "make its values valid texts, such as by .astype(str), or numbers"
                ) from error
    return pyarrow.table(stored)
