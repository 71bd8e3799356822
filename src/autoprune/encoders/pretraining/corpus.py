"""The corpus: plain text files, a text a line, some of whose lines are never trained on."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import DataError

APART = 0.01  # share of the distinct texts that is kept apart
LONGEST = 1 << 20  # bytes of a line

_RANGE = 1 << 64
_BINARY = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f"))


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files that were read once and found to be text.

    A text is kept apart if its digest is at most `last`: equal texts stay together.
    """

    paths: tuple[Path, ...]
    fingerprint: str
    texts: int
    last: int


def scan(paths: Sequence[Path]) -> Corpus:
    """Read all files once; raises `DataError` that names file and line."""
    whole = hashlib.sha256()
    texts, lowest, highest = 0, _RANGE, 0
    for path in paths:
        before = texts
        for text in _lines(path):
            texts += 1
            whole.update(text.encode() + b"\n")
            lowest, highest = min(lowest, _digest(text)), max(highest, _digest(text))
        if texts == before:
            raise DataError(f"a corpus is a text file with a text a line, {path} has none")
    if lowest == highest:
        raise DataError(
            "a corpus needs two different texts at least, one to learn from and one to judge by: "
            f"{paths[0]} has one"
        )
    # A small corpus may have no text in the share: its lowest is taken then. In one where all are
    # in the share the highest is learned from.
    last = min(max(int(APART * _RANGE), lowest), highest - 1)
    return Corpus(tuple(paths), f"sha256:{whole.hexdigest()[:32]}", texts, last)


def texts_of(corpus: Corpus, apart: bool) -> Iterator[str]:
    """Yield the texts kept apart, or all others, in the order of the files."""
    for path in corpus.paths:
        for text in _lines(path):
            if (_digest(text) <= corpus.last) == apart:
                yield text


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines that hold a text, without the space around it."""
    if not path.is_file():  # a pipe could be read but once
        found = "is none" if path.exists() else "is not there"
        raise DataError(f"a corpus is a text file with a text a line, {path} {found}")
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                if text := _text(line, path, number):
                    yield text
    except OSError as error:
        raise DataError(f"cannot read the corpus {path}: {error.strerror}") from error


def _text(line: bytes, path: Path, number: int) -> str:
    where = f"{path}, line {number}"
    if len(line) > LONGEST:
        raise DataError(
            f"a corpus has a text a line, {where} is over {LONGEST >> 20} MiB: split it"
        )
    if line.translate(None, _BINARY) != line:
        raise DataError(f"a corpus is plain text, {where} has control characters: is it binary?")
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"a corpus is a text file in UTF-8, {where} is not (byte {error.start + 1}): convert it"
        ) from error
    return " ".join(text.split())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
