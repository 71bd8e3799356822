"""Optuna's tree-structured Parzen estimator over layer flags, mended to legal layouts."""

import warnings

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning

from autoprune.layouts.layout import Layout
from autoprune.search.marks import distributions, flag_names, params
from autoprune.search.past import Past
from autoprune.search.proposals import STARTS, propose_randomly
from autoprune.search.space import layout_of

_DRAWS = 25


def propose_by_tree(past: Past, rng: np.random.Generator) -> Layout:
    """Take what TPE draws, with surplus or lacking layers swapped at random to exactly `keep`.

    A draw that was tried before is drawn again, at last uniformly. TPE sees the mended layouts,
    which are those that were measured, in a study of its own in memory.
    """
    if len(past.tried) < STARTS or len(past.observed) < 2:
        return propose_randomly(past, rng)
    flags = distributions(past.depth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=int(rng.integers(2**31)), n_startup_trials=2, multivariate=True
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for layout, quality in past.observed:
        study.add_trial(
            optuna.trial.create_trial(
                params=params(layout), distributions=dict(flags), value=quality
            )
        )
    for _ in range(_DRAWS):
        drawn = study.ask(flags)
        row = np.array([drawn.params[name] for name in flag_names(past.depth)], dtype=np.int8)
        study.tell(drawn, state=optuna.trial.TrialState.FAIL)
        while (surplus := int(row.sum()) - past.keep) != 0:
            row[rng.choice(np.flatnonzero(row == (surplus > 0)))] = int(surplus < 0)
        if layout_of(row) not in past.tried:
            return layout_of(row)
    return propose_randomly(past, rng)
