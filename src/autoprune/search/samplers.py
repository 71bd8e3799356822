"""The samplers by name: rules that say which run is made next."""

from collections.abc import Callable
from functools import partial

from autoprune.search.proposals import propose_by_surrogate, propose_in_order, propose_randomly
from autoprune.search.sampler import LayoutSampler
from autoprune.search.tree import propose_by_tree

SAMPLERS: dict[str, Callable[..., LayoutSampler]] = {
    "gp": partial(LayoutSampler, propose=propose_by_surrogate, fresh=True),
    "random": partial(LayoutSampler, propose=propose_randomly, fresh=False),
    "tpe": partial(LayoutSampler, propose=propose_by_tree, fresh=False),
    "brute-force": partial(LayoutSampler, propose=propose_in_order, fresh=False),
}
"""Each takes (depth, keep, seed, fidelity, hints=None, promotes=False); only `gp` listens to hints
and promotes."""
