"""A run: what is measured once and never again."""

from dataclasses import dataclass

from autoprune.layouts.layout import Layout


@dataclass(frozen=True, slots=True)
class Run:
    """A layout trained from the seed's head, in the seed's order, with a share of the full budget.

    `fidelity` lies in (0, 1]; 1 is the budget that the answer is about.
    """

    layout: Layout
    seed: int
    fidelity: float = 1.0
