"""CSV and TSV: rows with their lines; rows are never merged by a quote that is not closed."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from autoprune.errors import DataError, first_line, format_path, join_names, quote
from autoprune.tasks.table import (
    LABEL_SPELLINGS,
    TEXT_SPELLINGS,
    DataTable,
    Row,
    check_column_names,
)
from autoprune.tasks.text_lines import MAX_LINE, read_lines

_SEPARATOR_LINE = re.compile(r'"?sep=([^"\w\s]|\t)"?[,;\t]*', re.IGNORECASE)  # Excel's

_HINT = "; a file without a header needs one, such as text,label"

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")

_MOST_VALUES = 1000  # a column with more different values is not one of labels

_FEWEST_ROWS = 8  # fewer do not show what a column holds

_MAX_VALUE = 200  # characters of a label


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file is written; `skipped` lines stand above its header of `width` named columns."""

    path: Path
    separator: str
    quoted: bool = True
    skipped: int = 0
    width: int = 0

    def fits(self, cells: Sequence[str]) -> bool:
        """Return whether these are the cells of a row; those beyond the columns must be empty."""
        count = len(cells)
        return count == self.width or (
            count > self.width and not any(map(str.strip, cells[self.width :]))
        )


class _Record(NamedTuple):
    """A row of cells as read; `raw` is the last one of its lines."""

    first_line: int
    last_line: int
    cells: list[str]
    raw: str


@dataclass(frozen=True, slots=True)
class _ColumnValues:
    """What the column of a file holds; `known` are all its values, if they are few."""

    known: frozenset[str] | None
    numbers: bool


def open_csv(path: Path, separator: str = ",") -> DataTable:
    """Return the table of a CSV or TSV file. Its first line with cells is the header.

    A line `sep=;` above it names the separator, as in Excel. Columns without a name at its end, and
    cells beyond the columns, must be empty. A TSV file has no quotes, they are part of its texts,
    unless there is evidence: each of its lines has all columns only if quotes are read, or a cell
    in quotes doubles the quotes in it, or all cells of some column are in quotes.

    A cell may go over several lines, but not where these look like rows that a stray quote merged:
    see `_is_merged`. Raises `DataError`, as do the rows of the table when they are read.
    """
    form, names = _read_header(path, separator)
    origin, notes = format_path(path), list[str]()
    if form.separator == "\t":
        is_quoted, has_quotes = _find_quoting(form)
        form = replace(form, quoted=is_quoted)
        if has_quotes and not is_quoted:
            notes.append(f"{origin} is read without quoting, its quotes are part of the texts")

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        indices = [names.index(name) for name in selected]
        columns: list[_ColumnValues] = []  # found out when a cell goes over several lines
        is_quoted = False
        for number, record in enumerate(_records(form)):
            if not form.fits(record.cells):
                raise _wrong_length(form, names, record, is_first=number == 1)
            if record.last_line > record.first_line:
                if not columns:
                    columns, is_quoted = _explore(form)
                if _is_merged(form, record.cells, columns, is_quoted):
                    raise DataError(
                        f"{origin} has a cell in quotes over the lines {record.first_line} to "
                        f"{record.last_line} that look like rows: a quote is not closed, or is "
                        'part of a text; write such a text as "so ""quoted"" here"'
                    )
            if number > 0:  # below the header
                yield f"line {record.last_line}", [record.cells[index] for index in indices]

    next(rows(()), None)  # a first row that does not fit explains names that are not known
    return DataTable(origin, names, rows, notes=tuple(notes), hint=_HINT)


def _read_header(path: Path, separator: str) -> tuple[_Form, list[str]]:
    origin = format_path(path)
    skipped = 0
    top = next(read_lines(path, ""), "").strip("\r\n ")
    if named := _SEPARATOR_LINE.fullmatch(top):
        separator, skipped = named[1], 1
    form = _Form(path, separator, skipped=skipped)
    record = next(_records(form), None)
    if record is None or not record.raw.strip():
        raise DataError(f"{origin} is empty, a header and rows are needed")
    names = [name.strip() for name in record.cells]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DataError(f"{origin} must name its columns in its first line, got nothing")
    if len(names) == 1 and separator in names[0]:
        raise DataError(
            f"{origin} has its rows in quotes as a whole, its first line is {quote(record.raw)}: "
            "take out the quotes around the rows"
        )
    other = next((char for char in ",;\t|" if len(names) == 1 and char in names[0]), None)
    if other is not None:
        raise DataError(
            f"{origin} must have {quote(separator)} between its columns, it has "
            f"{quote(other)}: save it with {quote(separator)}, .csv is for ',' and .tsv for tabs"
        )
    check_column_names(origin, names)
    return replace(form, width=len(names)), names


def _records(form: _Form) -> Iterator[_Record]:
    """Yield the header and the rows; empty lines are skipped."""
    # Python's reader instead of pandas': it tells the line of a row that is too short or too long.
    csv.field_size_limit(MAX_LINE)
    raw = ""

    def lines() -> Iterator[str]:
        nonlocal raw
        for line in islice(read_lines(form.path, ""), form.skipped, None):
            raw = line
            yield line

    reader = csv.reader(
        lines(),
        delimiter=form.separator,
        quoting=csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE,
        strict=True,
    )
    first = form.skipped + 1
    try:
        for cells in reader:
            last = form.skipped + reader.line_num
            if cells:
                yield _Record(first, last, cells, raw.rstrip("\r\n"))
            first = last + 1
    except csv.Error as error:
        raise DataError(
            f"{format_path(form.path)} has broken quotes, line {first}: "
            f'{first_line(error)}; write a text with quotes as "so ""quoted"" here"'
        ) from error


def _wrong_length(form: _Form, names: list[str], record: _Record, is_first: bool) -> DataError:
    cells = record.cells
    filled = max((index for index, cell in enumerate(cells, start=1) if cell.strip()), default=0)
    found = max(filled, min(len(cells), form.width))
    columns = "1 column" if form.width == 1 else f"{form.width} columns"
    problem = f"{format_path(form.path)} has {columns}, line {record.last_line} has {found}"
    spellings = {*TEXT_SPELLINGS, *LABEL_SPELLINGS}
    if is_first and spellings.intersection(cell.strip().casefold() for cell in cells):
        return DataError(
            f"{problem}: is that line the header, and {join_names(names, 3)} a title? "
            "take out what is above the header"
        )
    if len(cells) == 1 and form.separator in cells[0]:
        return DataError(
            f"{problem}, as it is in quotes as a whole: take out the quotes around the row"
        )
    if found > form.width:
        return DataError(f"{problem}: write a text with {quote(form.separator)} in quotes")
    return DataError(problem)


def _is_merged(
    form: _Form, cells: Sequence[str], columns: Sequence[_ColumnValues], is_quoted: bool
) -> bool:
    """Return whether a cell over several lines seems to be rows that a stray quote has merged.

    It does where most of its lines that would need separators to be rows are such, with values
    that their columns have: numbers, or one of few values as in a column of labels. Where no column
    is of that kind, all its lines must be rows, in a file without evidence of quoting (`_explore`).
    """
    for position, cell in enumerate(cells[: form.width]):
        lines = re.split(r"[\r\n]+", cell)
        if len(lines) == 1:
            continue
        parts = [line.split(form.separator) for line in lines]
        # A row whose value would be empty had the stray quote alone there.
        parts[0][0], parts[-1][-1] = parts[0][0] or '"', parts[-1][-1] or '"'
        rows = [[*cells[:position], *parts[0]], *parts[1:-1], [*parts[-1], *cells[position + 1 :]]]
        # The columns that each line has by itself. The last ones of a merged row stand after it.
        spans = [range(position, form.width), *[range(form.width)] * (len(rows) - 2)]
        spans.append(range(position + 1))
        needed = [number for number, span in enumerate(spans) if len(span) > 1]
        fitting = [number for number in needed if form.fits(rows[number])]
        if len(fitting) * 2 < len(needed):
            continue
        known: list[bool] = []
        for column, values in enumerate(columns):
            found = [rows[number][column] for number in fitting if column in spans[number]]
            known += _are_known(values, found, cells[column])
        if known:
            if sum(known) * 2 >= len(known):
                return True
        elif len(fitting) == len(needed) and not is_quoted:
            return True
    return False


def _are_known(column: _ColumnValues, found: Sequence[str], cell: str) -> list[bool]:
    """Return which values `found` a column may have; nothing where any text may stand in it.

    In a column of few values these are the known ones, that of another row of the same cell, and
    what is written like them: no longer, of no more words, and without a space at its start.
    """
    if column.known is None:
        return [_NUMBER.fullmatch(value.strip()) is not None for value in found if column.numbers]
    counts = Counter(value.strip() for value in (*found, cell))
    longest = max(map(len, column.known))
    most_words = max(len(value.split()) for value in column.known)
    return [
        value.strip() in column.known
        or counts[value.strip()] > 1
        or (
            len(value) <= longest
            and 0 < len(value.split()) <= most_words
            and not value[0].isspace()
        )
        for value in found
    ]


def _explore(form: _Form) -> tuple[list[_ColumnValues], bool]:
    """Return what the columns hold in rows of one line, and whether the file has quoting.

    Quotes in the header are evidence of it, and so is a cell in quotes that holds the separator or
    doubled quotes; in a cell of several lines, which may be merged, doubled quotes in pairs alone.
    """
    values: list[set[str]] = [set() for _ in range(form.width)]
    numbers = [True] * form.width
    count, records = 0, _records(form)
    is_quoted = '"' in next(records).raw
    try:
        for record in records:
            if record.first_line < record.last_line or not form.fits(record.cells):
                for cell in record.cells:
                    counts = [line.count('"') for line in cell.split("\n")]
                    has_pairs = not any(count % 2 for count in counts) and any(counts)
                    is_quoted |= has_pairs and len(counts) > 1
                continue
            count += 1
            for column, cell in enumerate(record.cells[: form.width]):
                value = cell.strip()
                numbers[column] &= _NUMBER.fullmatch(value) is not None
                if len(values[column]) <= _MOST_VALUES:
                    values[column].add(value[:_MAX_VALUE])
                if '"' in cell or form.separator in cell:
                    is_quoted |= '"' + cell.replace('"', '""') + '"' in record.raw
    except DataError:  # it is raised again when that row is read
        pass
    columns = [
        _ColumnValues(
            frozenset(found)
            if count >= _FEWEST_ROWS and any(found) and len(found) <= min(_MOST_VALUES, count // 2)
            else None,
            count > 0 and has_numbers,
        )
        for found, has_numbers in zip(values, numbers, strict=True)
    ]
    return columns, is_quoted


def _find_quoting(form: _Form) -> tuple[bool, bool]:
    """Return whether quotes in a TSV file surround cells, and whether it has any quotes."""
    wrapped = [True] * form.width
    has_quotes, length = False, 0
    for number, record in enumerate(_records(replace(form, quoted=False))):
        has_quotes = has_quotes or '"' in record.raw
        length = length or len(record.cells)
        differs = '"' in record.raw and len(record.cells) != length
        if differs or (has_quotes and not form.fits(record.cells)):
            return True, True  # quotes explain it, or it is refused where it is read
        if number == 0:
            continue
        if '"' not in record.raw:
            wrapped = [False] * form.width
            continue
        for column, cell in enumerate(record.cells[: form.width]):
            inner = cell[1:-1]
            is_wrapped = len(cell) > 1 and cell[0] == cell[-1] == '"'
            is_wrapped = is_wrapped and '"' not in inner.replace('""', "")
            if is_wrapped and '""' in inner:
                return True, True
            wrapped[column] &= is_wrapped
    return has_quotes and any(wrapped), has_quotes
