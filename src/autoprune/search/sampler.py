"""An Optuna sampler that decides a whole layout at once and never the same one twice."""

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autoprune.layouts.layout import Layout
from autoprune.search.marks import distributions, params
from autoprune.search.past import Past, past_of

Propose = Callable[[Past, np.random.Generator], Layout]


class LayoutSampler(BaseSampler):
    """Samples flags `layer_00`, `layer_01`, ... of which exactly `keep` are 1.

    A proposal depends on `seed` and the past alone, never on how often the process was restarted:
    the random numbers come from `seed` and how many layouts were tried. Raises `StudyError` when
    every layout has been tried.
    """

    def __init__(self, depth: int, keep: int, seed: int, propose: Propose) -> None:
        self._depth = depth
        self._keep = keep
        self._seed = seed
        self._propose = propose

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return one flag per layer."""
        return distributions(self._depth)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the flags of the next layout."""
        others = [
            other for other in study.get_trials(deepcopy=False) if other.number != trial.number
        ]
        past = past_of(others, self._depth, self._keep)
        rng = np.random.default_rng((self._seed, len(past.tried)))
        return params(self._propose(past, rng))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Refuse: a layer flag is never decided alone."""
        raise ValueError(f"{param_name} is no layer flag of a {self._depth}-layer model")
