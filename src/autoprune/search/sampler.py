"""Sampler: an Optuna sampler that proposes whole runs (layout, seed, fidelity), none twice."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_by_tpe, propose_in_order, propose_randomly
from autoprune.search.gp_sampler import propose_by_gp
from autoprune.search.history import SearchHistory, read_history
from autoprune.search.settings import SearchSettings
from autoprune.search.trial import (
    TrialRun,
    distributions,
    flag_params,
    invalid_request,
    layout_of_trial,
    requested_run,
    seed_attributes,
)
from autoprune.storage.optuna_internals import storage_of, trial_id_of

ProposeLayout = Callable[[SearchHistory, np.random.Generator], Layout | TrialRun]
"""Returns the layout of a new run, or a paused run that continues to the full budget."""

_FIRST_SEED = 1_000
"""Distance of new seeds from the study's own: the comparison uses the seeds right above that."""


class LayoutSampler(BaseSampler):
    """Samples flags `layer_00`, `layer_01`, ... of which exactly `keep` are 1.

    Seed and fidelity become attributes of the trial: they say nothing of its layout.

    With `new_seeds`, each run has its own seed. A seed has similar effects on similar layouts, so
    runs with one seed share an error, and runs with many seeds correct each other. Without it, all
    runs have the study's seed, and no layout comes twice.

    A proposal depends on the study's seed and history alone, never on how often the process was
    restarted: the generator is seeded with the seed and the number of started trials. Raises
    `StudyError` when nothing is left to run.
    """

    def __init__(
        self, settings: SearchSettings, *, propose: ProposeLayout, new_seeds: bool
    ) -> None:
        self.settings = settings
        self.new_seeds = new_seeds
        self.fidelities = (settings.fidelity, 1.0) if settings.promote else (settings.fidelity,)
        self._propose = propose

    def make_run(self, layout: Layout, history: SearchHistory) -> TrialRun:
        """Return the next run of `layout`; with `new_seeds`, its seed is used by no other run."""
        seed = self.settings.seed
        if self.new_seeds:
            used = {run.seed for run in history.started}
            seed += _FIRST_SEED + history.n_started
            while seed in used:  # enqueued by a person, or after a rejected trial
                seed += 1
        return TrialRun(layout, seed, self.settings.fidelity)

    def propose_run(self, history: SearchHistory) -> TrialRun:
        """Propose the run that comes after `history`."""
        settings = self.settings
        history = replace(history, proxy_scores=settings.proxy_scores, promote=settings.promote)
        rng = np.random.default_rng((settings.seed, history.n_started))
        proposed = self._propose(history, rng)
        return proposed if isinstance(proposed, TrialRun) else self.make_run(proposed, history)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Store what an enqueued trial does not name of seed and fidelity."""
        layout = layout_of_trial(trial, self.settings.depth)
        if layout is not None and not invalid_request(trial):
            run = self.make_run(layout, self._history(study, trial))
            _store_seed(study, trial, requested_run(trial, run))

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of one flag per layer."""
        return distributions(self.settings.depth)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the flags of the next run; stores its seed and fidelity."""
        run = self.propose_run(self._history(study, trial))
        _store_seed(study, trial, run)
        return flag_params(run.layout)

    def _history(self, study: Study, trial: FrozenTrial) -> SearchHistory:
        """Return what is known before `trial`."""
        others = [
            other for other in study.get_trials(deepcopy=False) if other.number != trial.number
        ]
        return read_history(others, self.settings.depth, self.settings.keep, self.settings.required)

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        """Raise `ValueError`: a layer flag is never sampled alone."""
        raise ValueError(f"{param_name} is no layer flag of a {self.settings.depth}-layer model")


def _store_seed(study: Study, trial: FrozenTrial, run: TrialRun) -> None:
    for key, value in seed_attributes(run).items():
        storage_of(study).set_trial_user_attr(trial_id_of(trial), key, value)
        trial.set_user_attr(key, value)  # which the objective reads


SAMPLERS: dict[str, Callable[[SearchSettings], LayoutSampler]] = {
    "gp": partial(LayoutSampler, propose=propose_by_gp, new_seeds=True),
    "random": partial(LayoutSampler, propose=propose_randomly, new_seeds=False),
    "tpe": partial(LayoutSampler, propose=propose_by_tpe, new_seeds=False),
    "brute-force": partial(LayoutSampler, propose=propose_in_order, new_seeds=False),
}
"""Only `gp` uses proxy scores and promotes runs."""
