"""Predicting: what is written of each text, and where."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import DataError, OptionError
from autoprune.export.predict import Predictor
from autoprune.tasks.streaming import StreamedRow

DIGITS = 6  # of a probability

_Write = Callable[[NDArray[np.float64]], object]


def check_out(file: Path, out: Path | None) -> None:
    """Raise `OptionError` where `file` cannot be read or `out` cannot be written, before work."""
    if not file.is_file():
        raise OptionError(f"FILE must be a file with texts, {file} is none")
    if out is None:
        return
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise OptionError(f"--out must be a file in a folder that exists, got {out}")
    if out.exists() and not out.is_file():  # the draft would take the place of a device or a pipe
        raise OptionError(f"--out must be a file, {out} is none: leave it out and use >")
    if out.exists() and out.samefile(file):
        raise OptionError(f"--out must be another file than that of the texts, {out}")


def to_screen(predictor: Predictor, rows: Iterable[StreamedRow], batch: int, kind: str) -> None:
    """Write to standard output; a reader that has seen enough (`head`) ends it in silence."""
    try:
        _write_all(predictor, rows, batch, kind, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def to_file(
    predictor: Predictor, rows: Iterable[StreamedRow], batch: int, kind: str, out: Path
) -> int:
    """Write to `out`, whole or not at all, and return how many rows; raises `OptionError`."""
    out = out.resolve()  # a link stays one
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            count = _write_all(predictor, rows, batch, kind, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out)
    except OSError as error:
        raise OptionError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write_all(
    predictor: Predictor, rows: Iterable[StreamedRow], batch: int, kind: str, file: TextIO
) -> int:
    answers = predictor(rows, batch)
    first = next(answers, None)  # what is wrong with the file is said before anything is written
    if first is None:
        raise DataError("the file has no texts")
    write = WRITERS[kind](predictor.labels, file)
    count = 0
    for shares in chain([first], answers):
        write(shares)
        count += 1
    return count


def _csv(labels: Sequence[str], file: TextIO) -> _Write:
    """Write a header: the label, its probability, and that of each label, `p(LABEL)`."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["label", "probability", *(f"p({label})" for label in labels)])

    def write(shares: NDArray[np.float64]) -> None:
        best = int(shares.argmax())
        figures = [f"{share:.{DIGITS}f}" for share in (shares[best], *shares)]
        writer.writerow([labels[best], *figures])

    return write


def _json_lines(labels: Sequence[str], file: TextIO) -> _Write:
    def write(shares: NDArray[np.float64]) -> None:
        best = int(shares.argmax())
        rounded = [round(float(share), DIGITS) for share in shares]
        answer = {
            "label": labels[best],
            "probability": rounded[best],
            "probabilities": dict(zip(labels, rounded, strict=True)),
        }
        file.write(json.dumps(answer, ensure_ascii=False) + "\n")

    return write


WRITERS: dict[str, Callable[[Sequence[str], TextIO], _Write]] = {"csv": _csv, "jsonl": _json_lines}
