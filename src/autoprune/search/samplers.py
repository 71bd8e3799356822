"""The samplers by name: rules that say which layout is tried next."""

from collections.abc import Callable
from functools import partial

from optuna.samplers import BaseSampler

from autoprune.search.proposals import propose_by_surrogate, propose_in_order, propose_randomly
from autoprune.search.sampler import LayoutSampler
from autoprune.search.tree import propose_by_tree

SAMPLERS: dict[str, Callable[[int, int, int], BaseSampler]] = {
    "gp": partial(LayoutSampler, propose=propose_by_surrogate),
    "random": partial(LayoutSampler, propose=propose_randomly),
    "tpe": partial(LayoutSampler, propose=propose_by_tree),
    "brute-force": partial(LayoutSampler, propose=propose_in_order),
}
"""Each takes (depth, keep, seed)."""
