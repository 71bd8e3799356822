"""File formats: read a CSV, TSV, JSON-lines or Parquet file as a table of named columns."""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from autoprune.errors import DataError, first_line, format_path, join_names, quote
from autoprune.tasks.task import Columns, RawSplit

# Known column names, tried in this order, in any case. A second text has none: it must be named.
TEXT_SPELLINGS = (
    "text", "texts", "sentence", "headline", "headlines", "title",
    "document", "paragraph", "content", "review", "tweet", "comment", "news",
)  # fmt: skip

LABEL_SPELLINGS = ("label", "labels", "class", "category", "target", "topic")

_MAX_FIELD = 2**31 - 1  # characters of a CSV field

_MISSING = object()  # the value of a key that a JSON row lacks, which differs from null

# The first bytes of files that are often given a wrong name.
_MAGIC_BYTES = {
    b"PK": "a ZIP archive or a workbook",
    b"\x1f\x8b": "gzip",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PAR1": "Parquet",
}


@dataclass(frozen=True, slots=True)
class RawTable:
    """Columns of equal length; `locations[i]` says where row `i` is in the file (`line 7`).

    A column is a list or an Arrow column. The latter is converted only when it is selected, since
    others may hold what Python cannot represent (a date after the year 9999); `converters` are
    then applied to its values.
    """

    origin: str
    columns: Mapping[str, Any]
    locations: Sequence[str]
    converters: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)


def read_table(path: Path) -> RawTable:
    """Read one data file; its suffix names the format.

    Each text is returned as it is written: no word means a missing value. Raises `DataError`, with
    the line, for files that are empty, not UTF-8, binary or cut off.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data files end in {', '.join(READERS)}, got {format_path(path)}")
    check_file(path)
    try:
        table = reader(path)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise DataError(
            f"{format_path(path)} must be readable, got: {reason}; check it, or fetch it again"
        ) from error
    if not table.locations:
        raise DataError(f"{format_path(path)} must have rows below its header, got none")
    return table


def select_columns(table: RawTable, columns: Columns) -> RawSplit:
    """Return the texts and labels of a table, without white space around them.

    A null becomes an empty text, which cleaning counts and removes; a whole number as a label
    becomes its digits. Raises `DataError` for a missing column, and for a value that is not a text.
    """
    names, origin = table.columns.keys(), table.origin
    text = find_column(names, origin, "text", columns.text, TEXT_SPELLINGS)
    label = find_column(names, origin, "label", columns.label, LABEL_SPELLINGS)
    pair = columns.pair and find_column(names, origin, "text-pair", columns.pair)
    if len({text, label, pair}) < 3:
        raise DataError(f"text, text-pair and label must be different columns of {origin}")
    return RawSplit(
        origin=origin,
        texts=_column_texts(table, text),
        labels=_column_texts(table, label, accept_numbers=True),
        pairs=_column_texts(table, pair) if pair else None,
        text_column=text,
        label_column=label,
    )


def find_column(
    names: Collection[str],
    origin: str,
    option: str,
    requested: str | None,
    spellings: Sequence[str] = (),
) -> str:
    """Return the column `requested` by `--option`, else one of the known `spellings`, in any case.

    Raises `DataError` where no column matches, or more than one.
    """
    if requested is not None and requested in names:
        return requested
    for spelling in spellings if requested is None else (requested.strip().casefold(),):
        matches = [name for name in names if name.strip().casefold() == spelling]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise DataError(
                f"{origin} has the columns {join_names(matches)}, name one by --{option}"
            )
    wanted = f"known {option} column" if requested is None else f"column {quote(requested)}"
    raise DataError(
        f"{origin} has no {wanted}, name one by --{option}; its columns are {join_names(names)}"
    )


def value_to_text(value: object, subject: str, location: str, accept_numbers: bool = False) -> str:
    """Return a cell of a table as a text without white space around it; null is an empty text.

    `subject` names the column or file in errors. Raises `DataError` for what is not a text.
    """
    if value is None:
        return ""
    if not isinstance(value, str | int if accept_numbers else str):
        found = "nothing" if value is _MISSING else f"{type(value).__name__} {quote(value)}"
        rule = "texts or whole numbers" if accept_numbers else "texts"
        raise DataError(f"{subject} must hold {rule}, {location} has {found}")
    text = str(value).strip()
    try:
        valid = b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, written \ud800 in JSON
        valid = False
    if not valid:
        raise DataError(f"{subject} must hold texts, {location} has a NUL or half a character")
    return text


def check_file(path: Path) -> None:
    """Raise `DataError` where `path` is not a regular file; reading a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise DataError(f"{format_path(path)} must be a file, it is none: name a file with rows")


def check_column_names(path: Path, names: Sequence[str]) -> None:
    """Raise `DataError` where two columns have the same name."""
    repeated = [name for index, name in enumerate(names) if name in names[:index]]
    if repeated:
        raise DataError(
            f"{format_path(path)} must name each column once, "
            f"got {join_names(dict.fromkeys(repeated))} twice"
        )


def csv_rows(path: Path, lines: Iterable[str], separator: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the header of a CSV file and then its rows, each with its location (`line 7`).

    Empty lines are skipped. Raises `DataError` for a row of another length and for broken quotes.
    """
    # Python's reader instead of pandas': it tells the line of a row that is too short or too long.
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    names: list[str] = []
    first_line_of_row = 1
    try:
        for row in reader:
            location, first_line_of_row = f"line {reader.line_num}", reader.line_num + 1
            if not row:
                continue
            if not names:
                names = row = [name.strip() for name in row]
                check_column_names(path, names)
            if len(row) != len(names):
                raise DataError(
                    f"{format_path(path)} has {len(names)} columns, {location} has {len(row)}"
                )
            yield location, row
    except csv.Error as error:
        raise DataError(
            f"{format_path(path)} has broken quotes, line {first_line_of_row}: "
            f'{first_line(error)}; write a text with quotes as "so ""quoted"" here"'
        ) from error


def json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows of a JSON-lines file, each with its location; empty lines are skipped.

    Raises `DataError` for a line that is not one JSON object.
    """

    def to_dict(pairs: list[tuple[str, object]]) -> dict[str, object]:
        check_column_names(path, [name for name, _ in pairs])
        return dict(pairs)

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        location = f"line {number}"
        try:
            row = json.loads(line, object_pairs_hook=to_dict)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, {location}: "
                f"{first_line(error)}; correct that line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, {location} is "
                f"{quote(line.strip())}: write each row as an object on a line of its own"
            )
        yield location, row


def _column_texts(table: RawTable, name: str, accept_numbers: bool = False) -> tuple[str, ...]:
    subject = f"column {quote(name)} of {table.origin}"
    return tuple(
        value_to_text(value, subject, location, accept_numbers)
        for location, value in zip(table.locations, _column_values(table, name), strict=True)
    )


def _column_values(table: RawTable, name: str) -> Sequence[object]:
    values = table.columns[name]
    if hasattr(values, "to_pylist"):
        import pyarrow  # type: ignore[import-untyped]

        try:
            values = values.to_pylist()
        except (OverflowError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"column {quote(name)} of {table.origin} cannot be read: {first_line(error)}; "
                "write it as text"
            ) from error
    return list(map(table.converters.get(name, lambda value: value), values))


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `start` does not count the byte order mark, which utf-8-sig removes.
        start = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        line = content.count(b"\n", 0, start) + 1
        kinds = [kind for magic, kind in _MAGIC_BYTES.items() if content.startswith(magic)]
        hint = f" (it looks like {kinds[0]})" if kinds else ""
        raise DataError(
            f"{format_path(path)} must be UTF-8, line {line} has the byte "
            f"0x{content[start]:02x} at offset {start}{hint}: save it as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{format_path(path)} is empty, a header and rows are needed")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{format_path(path)} must be a text file, line {line} has a NUL byte: save it as UTF-8"
        )
    return text


def _read_csv(path: Path, separator: str = ",") -> RawTable:
    rows = csv_rows(path, io.StringIO(_read_text(path), newline=""), separator)
    _, names = next(rows)
    other = next((char for char in ",;\t|" if len(names) == 1 and char in names[0]), None)
    if other is not None:
        raise DataError(
            f"{format_path(path)} must have {quote(separator)} between its columns, it has "
            f"{quote(other)}: save it with {quote(separator)}, .csv is for ',' and .tsv for tabs"
        )
    located_rows = list(rows)
    columns = zip(*(row for _, row in located_rows), strict=True)
    return RawTable(
        format_path(path),
        dict(zip(names, columns, strict=False)),  # without rows there are no columns
        [location for location, _ in located_rows],
    )


def _read_json_lines(path: Path) -> RawTable:
    # Only "\n" ends a line: texts may hold other separators (U+2028), which splitlines would cut.
    located_rows = list(json_rows(path, _read_text(path).split("\n")))
    names = dict.fromkeys(name for _, row in located_rows for name in row)
    columns = {name: [row.get(name, _MISSING) for _, row in located_rows] for name in names}
    return RawTable(format_path(path), columns, [location for location, _ in located_rows])


def _read_parquet(path: Path) -> RawTable:
    import pyarrow
    from pyarrow import parquet

    if path.stat().st_size == 0:
        raise DataError(f"{format_path(path)} is empty, a Parquet file with rows is needed")
    try:
        table = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{format_path(path)} must be a Parquet file: {first_line(error)}; fetch it again"
        ) from error
    check_column_names(path, table.column_names)
    locations = [f"row {number}" for number in range(1, table.num_rows + 1)]
    return RawTable(
        format_path(path), dict(zip(table.column_names, table.columns, strict=True)), locations
    )


READERS: dict[str, Callable[[Path], RawTable]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, separator="\t"),
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}
