"""Errors apart: the test texts that only one of the entrants has wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.markdown import line
from autoprune.evidence.page.runs import Said
from autoprune.tasks.task import TestSplit

SHOWN = 12  # texts for each entrant
LONGEST = 400  # characters of a text


@dataclass(frozen=True, slots=True)
class Error:
    """One text, its label, for what it was taken most often, and in how many of the seeds."""

    text: str
    label: str
    taken: str
    wrong: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Apart:
    """The errors that only `origin` makes: how many rows, and the clearest of them."""

    origin: str
    count: int
    errors: tuple[Error, ...]


def apart(
    everyone: Sequence[Said], truth: NDArray[np.int64], test: TestSplit, names: Sequence[str]
) -> list[Apart]:
    """Return for each entrant the rows that it alone has wrong in more than half of the seeds.

    The clearest come first: wrong in most seeds, and right with the others in most.
    """
    misses = [(said.labels != truth).sum(0) for said in everyone]  # (rows,) each
    texts = _texts(test)
    return [_apart(i, everyone, misses, truth, texts, names) for i in range(len(everyone))]


def _apart(
    index: int,
    everyone: Sequence[Said],
    misses: Sequence[NDArray[np.int64]],
    truth: NDArray[np.int64],
    texts: Sequence[str],
    names: Sequence[str],
) -> Apart:
    said, wrong = everyone[index], misses[index]
    seeds = len(said.labels)
    others = np.array([miss for i, miss in enumerate(misses) if i != index])  # (others, rows)
    alone = (2 * wrong > seeds) & (2 * others <= seeds).all(0)
    rows = np.flatnonzero(alone)
    clearest = rows[np.argsort(others[:, rows].sum(0) - wrong[rows], kind="stable")][:SHOWN]
    errors = tuple(
        Error(
            text=texts[row],
            label=names[truth[row]],
            taken=names[_most(said.labels[:, row], int(truth[row]))],
            wrong=int(wrong[row]),
            seeds=seeds,
        )
        for row in clearest
    )
    return Apart(said.origin, len(rows), errors)


def _most(predicted: NDArray[np.int64], label: int) -> int:
    """Return the wrong label predicted most often."""
    return int(np.bincount(predicted[predicted != label]).argmax())


def _texts(test: TestSplit) -> list[str]:
    """Return the texts of the cleaned rows, second texts behind a stroke, cut where too long."""
    seconds = test.rows.pairs or ("",) * len(test.rows)
    whole = [
        f"{line(text)} | {line(second)}" if second else line(text)
        for text, second, kept in zip(test.rows.texts, seconds, test.kept, strict=True)
        if kept
    ]
    return [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in whole]
