"""Lending: what one study measured of models that have no layout of its own serves the next."""

from collections.abc import Collection, Iterable
from pathlib import Path

from autoprune.evidence.record import key
from autoprune.evidence.records import append, read
from autoprune.layouts.strategies import STRATEGIES

_OWN = {"found", "scratch", *STRATEGIES}  # these differ from one number of layers to the next


def lend(lenders: Iterable[Path], borrower: Path, models: Collection[str] | None = None) -> int:
    """Copy the runs of the full model and of rivals to the records `borrower`; return how many.

    `models` (`name@commit`) are those that the borrower may want, None for all.
    Those that are there already, and failed ones, are not copied. Whether a run fits the
    borrower's conditions is told by its identity when it is looked for.
    """
    there = {key(record) for record in read(borrower)}
    lent = 0
    for lender in lenders:
        for record in read(lender):
            common = record.phase != "search" and record.origin not in _OWN
            common &= models is None or record.model in models
            if common and record.state == "complete" and key(record) not in there:
                append(borrower, record)
                there.add(key(record))
                lent += 1
    return lent
