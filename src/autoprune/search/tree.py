"""Optuna's tree-structured Parzen estimator over layer flags, mended to legal layouts."""

import numpy as np
import optuna

from autoprune.layouts.layout import Layout
from autoprune.search.marks import distributions, flag_names, flags
from autoprune.search.past import Past
from autoprune.search.proposals import propose_randomly
from autoprune.search.space import Flags, layout_of

_STARTS = 10  # as Optuna has it
_DRAWS = 25


def propose_by_tree(past: Past, rng: np.random.Generator) -> Layout:
    """Take what Optuna's TPE draws, with its own settings, mended at random to exactly `keep`.

    A draw that was tried before is drawn again, at last uniformly. TPE sees the mended layouts,
    which are those that were measured, in a study of its own in memory.
    """
    if len(past.observed) < _STARTS:
        return propose_randomly(past, rng)
    sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    names = flag_names(past.depth)
    space = {name: distributions(past.depth)[name] for name in names}
    for one in past.observed:
        study.add_trial(
            optuna.trial.create_trial(
                params=flags(one.run.layout), distributions=dict(space), value=one.quality
            )
        )
    for _ in range(_DRAWS):
        drawn = study.ask(space)
        study.tell(drawn, state=optuna.trial.TrialState.FAIL)
        row = np.array([drawn.params[name] for name in names], dtype=np.int8)
        layout = layout_of(mended(row, past.keep, rng))
        if layout not in past.tried:
            return layout
    return propose_randomly(past, rng)


def mended(row: Flags, keep: int, rng: np.random.Generator) -> Flags:
    """Return flags (depth,) with as many drawn at random as need be, so that `keep` are 1."""
    row = row.copy()
    while (surplus := int(row.sum()) - keep) != 0:
        row[rng.choice(np.flatnonzero(row == (surplus > 0)))] = int(surplus < 0)
    return row
