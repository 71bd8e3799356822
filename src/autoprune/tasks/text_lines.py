"""Text lines: read UTF-8 text line by line; what is no such text is refused with its line."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from autoprune.errors import DataError, first_line, format_count, format_path
from autoprune.files import open_regular
from autoprune.tasks.task import Splits, TestSplit

MAX_TEXT_BYTES = 1 << 20  # bytes of a line

MAX_UNLABELLED = 1_000_000  # texts, which are kept in memory

_BINARY = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f"))


def read_corpus(path: Path) -> Iterator[str]:
    """Yield the lines of a text file that are not empty, without the space around them.

    Raises `DataError`, which names the line: no UTF-8, too long, or with control characters. A pipe
    or a device is refused: it could be read only once, or would never end.
    """
    try:
        with open_regular(path) as file:
            number = 0
            while line := file.readline(MAX_TEXT_BYTES + 1):
                number += 1
                if text := _decode(line, path, number).strip():
                    yield text
    except OSError as error:
        raise DataError(
            f"a corpus is a text file with one text per line, {path} cannot be read: "
            f"{error.strerror}"
        ) from error


def _decode(line: bytes, path: Path, number: int) -> str:
    where = f"{path}, line {number}"
    if len(line) > MAX_TEXT_BYTES:
        raise DataError(
            f"a corpus has one text per line, {where} is over {MAX_TEXT_BYTES >> 20} MiB: split it"
        )
    if line.translate(None, _BINARY) != line:
        raise DataError(f"a corpus is plain text, {where} has control characters: is it binary?")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"a corpus is a text file in UTF-8, {where} is not (byte {error.start + 1}): convert it"
        ) from error


ENCODING = "utf-8-sig"  # UTF-8; a byte order mark at the start is no text

MAX_LINE = 1 << 26  # characters; a text is far shorter, and a file without line ends may be endless

_BLOCK = 1 << 20  # bytes that are read at once to find a byte that is not UTF-8

_SAVE_AGAIN = "save it as UTF-8"
# The first bytes of files that are often given a wrong name: what they are, and what to do.
_MAGIC_BYTES = {
    b"PK": ("a ZIP archive or a workbook", "save the sheet as CSV (UTF-8)"),
    b"\x1f\x8b": ("gzip", "unpack it"),
    b"\xff\xfe": ("UTF-16", _SAVE_AGAIN),
    b"\xfe\xff": ("UTF-16", _SAVE_AGAIN),
    b"PAR1": ("Parquet", "name it .parquet"),
}


def read_lines(path: Path, newline: str = "\n") -> Iterator[str]:
    r"""Yield the lines of a file with their ends; its size does not matter.

    With `newline=""` a line ends with "\n", "\r" or both; by default with "\n" alone, as texts may
    hold the others. Raises `DataError` for a file that cannot be read and for one that is no text.
    """
    try:
        with path.open(encoding=ENCODING, newline=newline) as file:
            yield from check_lines(file, format_path(path))
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error


def decode_lines(stream: IO[bytes], origin: str) -> Iterator[str]:
    """Yield the lines of a stream that is read once, as `read_lines` does."""
    count = 0
    try:
        for line in check_lines(TextIOWrapper(stream, ENCODING, newline="\n"), origin):
            count += 1
            yield line
    except UnicodeDecodeError as error:
        raise DataError(f"{origin} must be UTF-8, below line {count} it is not") from error


def check_lines(file: IO[str], origin: str) -> Iterator[str]:
    """Yield the lines of an open file; raises `DataError` for a NUL and for an endless line."""
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE), ""), start=1):
        if len(line) == MAX_LINE:
            raise DataError(
                f"{origin} must have lines below {MAX_LINE:,} characters, line {number} is longer"
            )
        if "\0" in line:
            raise DataError(
                f"{origin} must be a text file, line {number} has a NUL byte: save it as UTF-8"
            )
        yield line


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error of a file that cannot be read."""
    reason = error.strerror or first_line(error)
    return DataError(
        f"{format_path(path)} must be readable, got: {reason}; check it, or fetch it again"
    )


def _not_utf8(path: Path) -> DataError:
    """Return the error of a file that has a byte which is not UTF-8, with its line."""
    line, offset, start, rest = 1, 0, b"", b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            start = start or block[:4]
            content, before = rest + block, offset - len(rest)
            try:
                content.decode()
            except UnicodeDecodeError as error:
                if error.end < len(content) or len(block) < _BLOCK:
                    line += content.count(b"\n", 0, error.start)
                    place = f"0x{content[error.start]:02x} at offset {before + error.start}"
                    break
                # The last character of the block may go on in the next one.
                rest = content[error.start :]
            else:
                rest = b""
            line += content.count(b"\n", 0, len(content) - len(rest))
            offset += len(block)
        else:
            place = "a part of a character at its end"
    found = (kind for magic, kind in _MAGIC_BYTES.items() if start.startswith(magic))
    kind, action = next(found, ("", _SAVE_AGAIN))
    hint = f" (it looks like {kind})" if kind else ""
    return DataError(
        f"{format_path(path)} must be UTF-8, line {line} has the byte {place}{hint}: {action}"
    )


@dataclass(frozen=True, slots=True)
class UnlabelledTexts:
    """Texts without labels, none of them a row of the task; `note` says what was left out."""

    texts: tuple[str, ...] = ()
    note: str = ""

    @property
    def fingerprint(self) -> str:
        """A hash of the texts in their order, empty where there are none."""
        content = "\n".join(self.texts).encode()
        return hashlib.sha256(content).hexdigest() if self.texts else ""


def _words_of(text: str) -> str:
    return " ".join(text.split())


def read_unlabelled(path: Path, splits: Splits, test: TestSplit) -> UnlabelledTexts:
    """Read the texts of a file for training without labels, a text a line.

    Rows of the task are left out: what is learned must be measured on other texts. Raises
    `DataError` where no text is left, for too many, and for a task of two texts a row.
    """
    if splits.train.pairs is not None:
        raise DataError(
            f"{format_path(path)} has one text a row, the task has two: leave --unlabelled out"
        )
    # A line has no line breaks: texts are the same where their words are.
    rows = set(map(_words_of, (*splits.validation.texts, *test.rows.texts)))
    train, seen = set(map(_words_of, splits.train.texts)), set[str]()
    read = held_out = labelled = 0
    for line in read_corpus(path):
        words = _words_of(line)
        read += 1
        held_out += words in rows
        labelled += words in train and words not in rows
        if words not in rows and words not in train:
            seen.add(words if splits.train.by_word else line)
        if len(seen) > MAX_UNLABELLED:
            raise DataError(
                f"{format_path(path)} has more than {MAX_UNLABELLED:,} different texts: give a "
                "shorter file to --unlabelled"
            )
    repeated = read - held_out - labelled - len(seen)
    if not seen:
        raise DataError(
            f"{format_path(path)} has no text that is not a row of the task "
            f"({format_count(read, 'line')} read): give other texts to --unlabelled"
        )
    left_out = ", ".join(
        f"{count:,} {reason}"
        for count, reason in (
            (held_out, "are validation or test rows"),
            (labelled, "are train rows"),
            (repeated, "are repeated"),
        )
        if count
    )
    note = f"{len(seen):,} of {read:,} texts of {format_path(path)} are used without labels"
    # In the order of the texts, not of the file: it is the same for the same texts.
    return UnlabelledTexts(tuple(sorted(seen)), f"{note} ({left_out})" if left_out else note)
