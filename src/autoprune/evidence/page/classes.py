"""Classes: how well each label is told, and for what it is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.page.runs import Said
from autoprune.evidence.tables import Table

SHOWN = 30  # classes of a confusion matrix; the most frequent ones where there are more


@dataclass(frozen=True, slots=True)
class Classes:
    """One entrant by class: `f1` (classes,), and `shares` (classes, classes).

    `shares[i, j]` is the share of class i's rows that it took for class j; both over all seeds.
    """

    origin: str
    f1: NDArray[np.float64]
    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix to draw: names and row counts of its classes, shares row by row."""

    origin: str
    names: tuple[str, ...]
    rows: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]


def classes(said: Said, truth: NDArray[np.int64], count: int) -> Classes:
    """Return F1 and confusions of `count` classes, F1 as the mean over seeds."""
    counts = np.zeros((len(said.labels), count, count))  # (seeds, true, predicted)
    for seed, predicted in enumerate(said.labels):
        np.add.at(counts[seed], (truth, predicted), 1)
    right = counts.diagonal(axis1=1, axis2=2)  # (seeds, classes)
    f1 = 2 * right / np.maximum(counts.sum(1) + counts.sum(2), 1)
    total = counts.sum(0)
    return Classes(said.origin, f1.mean(0), total / np.maximum(total.sum(1, keepdims=True), 1))


def sizes(truth: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many rows each class has, (classes,)."""
    return np.bincount(truth, minlength=count)


def confusion(one: Classes, names: Sequence[str], rows: NDArray[np.int64]) -> Confusion:
    """Return the matrix to draw: all classes, or the `SHOWN` most frequent ones."""
    shown = np.sort(np.argsort(-rows, kind="stable")[:SHOWN])
    return Confusion(
        origin=one.origin,
        names=tuple(names[i] for i in shown),
        rows=tuple(int(rows[i]) for i in shown),
        shares=tuple(tuple(map(float, one.shares[i, shown])) for i in shown),
    )


def f1_table(found: Sequence[Classes], names: Sequence[str], rows: NDArray[np.int64]) -> Table:
    """Return F1 of each class in %, in the order of the labels; none for a class without rows."""
    header = ("class", "test rows", *(f"F1 of {one.origin}, %" for one in found))
    return Table(
        "F1 by class",
        header,
        tuple(
            (name, str(rows[i]), *(f"{100 * one.f1[i]:.1f}" if rows[i] else "" for one in found))
            for i, name in enumerate(names)
        ),
    )
