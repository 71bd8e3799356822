"""A run: what is measured once and never again; and what was seen of it."""

from dataclasses import dataclass
from math import nan

from autoprune.layouts.layout import Layout


@dataclass(frozen=True, slots=True)
class Run:
    """A layout trained from the seed's head, in the seed's order, with a share of the full budget.

    `fidelity` lies in (0, 1]; 1 is the budget that the answer is about.
    """

    layout: Layout
    seed: int
    fidelity: float = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a run on the validation split; `loss` is NaN where it is not known."""

    run: Run
    quality: float
    loss: float = nan
