"""Corpus: text files in UTF-8 with one text per line, read line by line and checked."""

from collections.abc import Iterator
from pathlib import Path

from autoprune.errors import DataError
from autoprune.reading import open_regular

MAX_TEXT_BYTES = 1 << 20  # bytes of a line

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
