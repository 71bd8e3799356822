"""Streaming: read the texts of a file of any size one after another, without labels."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from autoprune.errors import OptionError, format_path, quote
from autoprune.tasks.formats import READERS, check_file, open_table
from autoprune.tasks.table import Row, find_texts, value_to_text
from autoprune.tasks.task import Columns
from autoprune.tasks.text_lines import decode_lines, read_lines

StreamedRow = tuple[str, str | None]  # a text, and the second text where a row has two


def stream_file(
    path: Path, text: str | None, pair: str | None
) -> tuple[Iterator[StreamedRow], tuple[str, ...]]:
    """Return the texts of a CSV, TSV, JSON-lines or Parquet file, and how they are read.

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
    column, second = find_texts(table, Columns(text=only or text, pair=pair))
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
            value_to_text(value, subject, location)
            for value, subject in zip(values, subjects, strict=True)
        )
        yield first, second[0] if second else None


def _is_text(name: str) -> bool:
    """Return whether the name of a column is rather a text, in a file without a header."""
    return len(name) > 40 or len(name.split()) > 4
