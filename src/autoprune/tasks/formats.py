"""The file formats: one file of the user's becomes a table of named columns."""

import csv
import io
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from autoprune.errors import DataError, first_line, format_path, join_names, quote
from autoprune.tasks.task import Columns, RawSplit

MISSING_VALUES = (
    object()
)  # stands where a JSON row has no such key at all, which is not the same as null

_LONGEST_FIELD = 2**31 - 1


class Column(Sequence[object]):
    """A column of an Arrow table, turned into Python's objects when one is asked for.

    Those that nobody asks for may hold what Python has none of: a date beyond the year 9999.
    """

    def __init__(
        self, origin: str, name: str, column: Any, turn: Callable[[Any], object] | None = None
    ) -> None:
        self._origin, self._name, self._column, self._turn = origin, name, column, turn

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: int) -> object: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[object]: ...
    def __getitem__(self, place: int | slice) -> object:
        return self._values[place]

    @cached_property
    def _values(self) -> list[object]:
        import pyarrow  # type: ignore[import-untyped]

        try:
            values: list[object] = self._column.to_pylist()
        except (OverflowError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(
                f"column {quote(self._name)} of {self._origin} cannot be read: "
                f"{first_line(error)}; write it as text"
            ) from error
        return values if self._turn is None else list(map(self._turn, values))


@dataclass(frozen=True, slots=True)
class RawTable:
    """Columns of equal length; `places[i]` tells a person where row `i` stands (`line 7`)."""

    origin: str
    columns: dict[str, Sequence[object]]
    places: Sequence[str]


def read_table(path: Path) -> RawTable:
    """Read one CSV, TSV, JSON-lines or Parquet file, the format told by the name's end.

    Every text comes back as it was written: nothing is taken for a missing value. Raises
    `DataError`, with the line, for files that are empty, not UTF-8, binary or torn.
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
            f"{format_path(path)} must be readable, got: {reason}; see to it, or fetch it again"
        ) from error
    if not table.places:
        raise DataError(f"{format_path(path)} must have rows below its header, got none")
    return table


def check_file(path: Path) -> None:
    """Raise `DataError` for what is there and no file; a pipe, say, would be waited for."""
    if path.exists() and not path.is_file():
        raise DataError(f"{format_path(path)} must be a file, it is none: name a file with rows")


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `start` counts without the mark that utf-8-sig takes off, the file has it: look again.
        start = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        line = content.count(b"\n", 0, start) + 1
        raise DataError(
            f"{format_path(path)} must be UTF-8, line {line} has the byte "
            f"0x{content[start]:02x} at offset {start}{_packed(content)}: save it as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{format_path(path)} is empty, a header and rows are needed")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{format_path(path)} must be a text file, line {line} has a NUL byte: save it as UTF-8"
        )
    return text


# The first bytes of files that bear a wrong name more often than others.
_PACKED = {
    b"PK": "a ZIP archive or a workbook",
    b"\x1f\x8b": "gzip",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PAR1": "Parquet",
}


def _packed(content: bytes) -> str:
    for start, kind in _PACKED.items():
        if content.startswith(start):
            return f" (it looks like {kind})"
    return ""


def _read_separated(path: Path, separator: str) -> RawTable:
    # Python's own reader and not pandas': it tells the line of a ragged row, where pandas pads it.
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    places: list[str] = []
    names: list[str] = []
    begun = 1  # where the row that is being read begins
    try:
        names = [name.strip() for name in next(row for row in reader if row)]
        _no_repeats(path, names)
        _check_separator(path, names, separator)
        begun = reader.line_num + 1
        for row in reader:
            begun = reader.line_num + 1
            if not row:  # an empty line
                continue
            if len(row) != len(names):
                raise DataError(
                    f"{format_path(path)} has {len(names)} columns, line {reader.line_num} has {len(row)}"
                )
            rows.append(row)
            places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise DataError(
            f"{format_path(path)} has broken quotes, line {begun}: {first_line(error)}; write a text "
            'with quotes as "so ""quoted"" here"'
        ) from error
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return RawTable(format_path(path), dict(zip(names, columns, strict=True)), places)


def _read_csv(path: Path) -> RawTable:
    return _read_separated(path, ",")


def _read_tsv(path: Path) -> RawTable:
    return _read_separated(path, "\t")


def _read_json_lines(path: Path) -> RawTable:
    rows: list[dict[str, object]] = []
    places: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        _no_repeats(path, [name for name, _ in pairs])
        return dict(pairs)

    # Only "\n" ends a line: texts may hold other separators (U+2028), which splitlines would cut.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=unique)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, line {number}: "
                f"{first_line(error)}; mend that line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{format_path(path)} must hold one JSON object a line, line {number} is {quote(line)}: "
                "write each row as an object on a line of its own"
            )
        rows.append(row)
        places.append(f"line {number}")
    names = dict.fromkeys(name for row in rows for name in row)
    return RawTable(
        format_path(path),
        {name: [row.get(name, MISSING_VALUES) for row in rows] for name in names},
        places,
    )


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
    _no_repeats(path, table.column_names)
    places = [f"row {number}" for number in range(1, table.num_rows + 1)]
    columns: dict[str, Sequence[object]] = {
        name: Column(format_path(path), name, table[name]) for name in table.column_names
    }
    return RawTable(format_path(path), columns, places)


def _no_repeats(path: Path, names: Sequence[str]) -> None:
    repeated = [name for place, name in enumerate(names) if name in names[:place]]
    if repeated:
        raise DataError(
            f"{format_path(path)} must name each column once, got {join_names(dict.fromkeys(repeated))} twice"
        )


def _check_separator(path: Path, names: Sequence[str], separator: str) -> None:
    other = next((one for one in ",;\t|" if len(names) == 1 and one in names[0]), None)
    if other is not None:
        raise DataError(
            f"{format_path(path)} must have {quote(separator)} between its columns, it has "
            f"{quote(other)}: save it with {quote(separator)}, .csv is for ',' and .tsv for tabs"
        )


READERS: dict[str, Callable[[Path], RawTable]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}

# Looked for in this order, in any case. The second text has none: it is only ever asked for.
TEXT_SPELLINGS = (
    "text", "texts", "sentence", "headline", "headlines", "title",
    "document", "paragraph", "content", "review", "tweet", "comment", "news",
)  # fmt: skip

LABEL_SPELLINGS = ("label", "labels", "class", "category", "target", "topic")


def choose_column(table: RawTable, columns: Columns) -> RawSplit:
    """Return the table's rows of texts and labels, outer white space stripped.

    Nulls become empty texts, which cleaning counts and removes; whole-number labels become their
    digits. Raises `DataError` for a missing column, and for what is not a text, with its place.
    """
    text = require_column(table, "text", columns.text, TEXT_SPELLINGS)
    label = require_column(table, "label", columns.label, LABEL_SPELLINGS)
    pair = None if columns.pair is None else require_column(table, "text-pair", columns.pair, ())
    if len({text, label, pair}) < 3:
        raise DataError(f"text, text-pair and label must be different columns of {table.origin}")
    return RawSplit(
        origin=table.origin,
        texts=_values(table, text, str),
        labels=_values(table, label, str | int),
        pairs=None if pair is None else _values(table, pair, str),
        text_column=text,
        label_column=label,
    )


def require_column(
    table: RawTable, option: str, asked: str | None, spellings: Sequence[str]
) -> str:
    """Return the column `asked` for by `--option`, else one of the known `spellings`, in any case.

    Raises `DataError` where there is none, or more than one.
    """
    names: Collection[str] = table.columns
    if asked is not None and asked in names:
        return asked
    for spelling in spellings if asked is None else (asked.strip().casefold(),):
        found = [name for name in names if name.strip().casefold() == spelling]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{table.origin} has the columns {join_names(found)}, name one by --{option}"
            )
    wanted = f"column {quote(asked)}" if asked is not None else f"known {option} column"
    raise DataError(
        f"{table.origin} has no {wanted}, name one by --{option}; its columns are {join_names(names)}"
    )


def _values(table: RawTable, column: str, kind: object) -> tuple[str, ...]:
    return tuple(
        _value(table, column, place, value, kind)
        for place, value in enumerate(table.columns[column])
    )


def _value(table: RawTable, column: str, place: int, value: object, kind: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, kind):  # type: ignore[arg-type]
        found = "nothing" if value is MISSING_VALUES else f"{type(value).__name__} {quote(value)}"
        rule = "texts" if kind is str else "texts or whole numbers"
        raise DataError(
            f"column {quote(column)} of {table.origin} must hold {rule}, "
            f"{table.places[place]} has {found}"
        )
    text = str(value).strip()
    if "\0" in text or not _encodes(text):
        raise DataError(
            f"column {quote(column)} of {table.origin} must hold texts, "
            f"{table.places[place]} has a NUL or half a character"
        )
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, written \ud800 in JSON
        return False
    return True
