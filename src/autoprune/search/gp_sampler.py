"""Acquisition function: proposes the run with the highest knowledge gradient under the model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_randomly
from autoprune.search.gp_kernel import FloatArray
from autoprune.search.gp_model import Observations, Surrogate
from autoprune.search.history import SearchHistory
from autoprune.search.search_space import (
    MAX_LISTED,
    LayerFlags,
    all_flags,
    draw_flags,
    flags_to_layout,
    layout_to_flags,
    swap_neighbours,
    with_required,
)
from autoprune.search.trial import Observation, TrialRun

MAX_STARTS = 5
"""Number of layouts tried before the first model is fitted, initial layouts among them."""

_BEST_ROWS = 10  # best layouts whose neighbours are candidates, where the space cannot be listed

_RANDOM_ROWS = 2_000  # random layouts that are candidates beside them

_CLIMBS = 3  # best of these candidates from which swaps climb further

_MAX_CANDIDATES = 300  # layouts whose runs are compared; 1,000 chose the same

_MAX_FIT_RUNS = 80  # runs, evenly spread, to which the kernel is fitted; all are conditioned on

_LEADERS = 20  # layouts with the best means, which these runs may overtake


def propose_by_gp(history: SearchHistory, rng: np.random.Generator) -> Layout | TrialRun:
    """Propose the run that is expected to improve the final choice the most.

    That may be a layout that was run before, on a new seed. With `history.promote`, the choice is
    that at the full budget, and the best run for its time may be a paused one that continues: so
    the leaders race, and one that is surely behind is trained no further. Runs under way count
    as ended with their expected scores, so that workers do not crowd together.
    """
    layouts, space_size = history.layouts, comb(history.depth, history.keep)
    if len(history.tried_layouts) < min(MAX_STARTS, layouts):
        return propose_randomly(history, rng)
    if not history.observations:  # in small spaces all may be under way: then one of them again
        if len(history.tried_layouts) < layouts or not history.running:
            return propose_randomly(history, rng)
        return history.running[rng.integers(len(history.running))].layout
    observations, scores = history.observations, history.proxy_scores
    observed = layout_to_flags([observation.run.layout for observation in observations])
    surrogate = fit_surrogate(observations, scores, (1.0,) if history.promote else ())
    if history.running:
        flags = layout_to_flags([run.layout for run in history.running])
        fidelities = np.array([run.fidelity for run in history.running])
        surrogate = surrogate.fantasize(flags, fidelities, proxy_column(flags, scores))
    incumbent = float(surrogate.predict_output(observed, -1, proxy_column(observed, scores)).max())
    if space_size <= MAX_LISTED:
        space = with_required(all_flags(history.depth, history.keep), history.required)
        pool = space[rng.permutation(len(space))]  # ties are broken at random
    else:
        assert scores is None, "a space too large to list has no proxy scores"
        pool = _candidate_pool(history, observed, surrogate, incumbent, rng)
    pool = _without_failed(pool, history)
    mean, std = surrogate.predict(pool, proxy_column(pool, scores))
    candidates = top_candidates(mean, std, incumbent)
    rows, mean = pool[candidates], mean[candidates]
    row_scores = proxy_column(rows, scores)
    quick = min(observation.run.fidelity for observation in observations)
    gains = knowledge_gradient(mean, surrogate.posterior_mean_shift(rows, row_scores, quick))
    if paused := history.paused:
        shifts = surrogate.posterior_mean_shift(rows, row_scores, 1.0, np.array(paused))
        full_gains = knowledge_gradient(mean, shifts) / (1.0 - quick)
        if history.promotion_due or full_gains.max() > gains.max() / quick:
            best = paused[int(np.argmax(full_gains))]
            return replace(observations[best].run, fidelity=1.0)
    return flags_to_layout(rows[int(np.argmax(gains))])


def fit_surrogate(
    observations: Sequence[Observation],
    proxy_scores: Mapping[Layout, float] | None = None,
    budgets: Sequence[float] = (),
) -> Surrogate:
    """Fit a surrogate to runs and the proxy scores of their layouts.

    `budgets`: see `Surrogate.fit`.
    """
    flags = layout_to_flags([observation.run.layout for observation in observations])
    losses = np.array([observation.loss for observation in observations])
    runs = Observations(
        flags,
        np.array([observation.quality for observation in observations]),
        np.array([observation.run.fidelity for observation in observations]),
        proxy_column(flags, proxy_scores),
        seeds=np.array([observation.run.seed for observation in observations]),
        losses=losses if np.isfinite(losses).any() else None,
    )
    part = runs.subsample(-(-len(observations) // _MAX_FIT_RUNS))
    has_all_budgets = set(part.fidelities) == set(runs.fidelities)
    return Surrogate.fit(runs, part if has_all_budgets else runs, budgets)


def proxy_column(
    flags: LayerFlags, proxy_scores: Mapping[Layout, float] | None
) -> FloatArray | None:
    """Return the proxy score of each row: (rows,)."""
    if proxy_scores is None:
        return None
    return np.array([proxy_scores[flags_to_layout(row)] for row in flags])


def expected_improvement(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return by how much each row is expected to exceed `incumbent`: (rows,).

    Jones et al. 1998, https://doi.org/10.1023/A:1008306431147.
    """
    scale = np.maximum(std, 1e-12)
    z = (mean - incumbent) / scale
    # scipy.stats.norm takes twice as long, and there are a million values at once.
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(scale * (z * ndtr(z) + density), dtype=np.float64)


def knowledge_gradient(mean: FloatArray, shifts: FloatArray) -> FloatArray:
    """Return how much higher the best mean is expected to be after each run: (runs,).

    `mean` (rows,) is the mean now; run `j` shifts row `i` by `shifts[k, i, j]` for each standard
    deviation of its surprise `k`; surprises are independent. What counts is the final choice, not
    the score of the run itself: under noise, a repeat of the leader can be worth more than a new
    layout. A run that can change the choice between the leader and one other row is computed
    exactly; with several others the largest value is taken, a lower bound. Frazier, Powell and
    Dayanik 2009, https://doi.org/10.1287/ijoc.1080.0314.
    """
    leader = int(np.argmax(mean))
    behind = (mean[leader] - mean)[:, None]  # (rows, 1)
    relative = shifts - shifts[:, leader, None]  # shift of a row relative to the leader
    std = np.sqrt((relative**2).sum(axis=0))  # (rows, runs)
    return np.asarray(expected_improvement(-behind, std, 0.0).max(axis=0))


def top_candidates(mean: FloatArray, std: FloatArray, incumbent: float) -> NDArray[np.int64]:
    """Return the indices of the rows with the highest expected improvements and means."""
    improvement = expected_improvement(mean, std, incumbent)
    best = np.argsort(-improvement, kind="stable")[:_MAX_CANDIDATES]
    leaders = np.argsort(-mean, kind="stable")[:_LEADERS]
    return np.concatenate([best, np.setdiff1d(leaders, best)])


def _candidate_pool(
    history: SearchHistory,
    observed: LayerFlags,
    surrogate: Surrogate,
    incumbent: float,
    rng: np.random.Generator,
) -> LayerFlags:
    """Return neighbours of the best layouts, random ones, and what swaps climb to from these."""
    best = np.argsort(-surrogate.predict_output(observed, -1), kind="stable")[:_BEST_ROWS]
    parts = [swap_neighbours(row) for row in np.unique(observed[best], axis=0)]
    parts += [draw_flags(history.depth, history.keep, _RANDOM_ROWS, rng), observed]
    pool = with_required(np.concatenate(parts), history.required)
    return _climb(pool, surrogate, incumbent, history.required)


def _climb(
    pool: LayerFlags, surrogate: Surrogate, incumbent: float, required: tuple[int, ...]
) -> LayerFlags:
    """Return `pool` and the ends of swap ascents on expected improvement from its best rows."""

    def improvement(flags: LayerFlags) -> FloatArray:
        return expected_improvement(*surrogate.predict(flags), incumbent)

    ends = []
    for row in pool[np.argsort(-improvement(pool), kind="stable")[:_CLIMBS]]:
        value = improvement(row[None, :])[0]
        while True:
            neighbours = with_required(swap_neighbours(row), required)
            if not len(neighbours):
                break
            values = improvement(neighbours)
            if values.max() <= value:
                break
            row, value = neighbours[int(np.argmax(values))], values.max()
        ends.append(row)
    return np.unique(np.concatenate([pool, np.array(ends)]), axis=0)


def _without_failed(flags: LayerFlags, history: SearchHistory) -> LayerFlags:
    """Return the rows without layouts that were tried but have no score: they would fail again."""
    known = {observation.run.layout for observation in history.observations}
    known |= {run.layout for run in history.running}
    failed = {layout.flags for layout in history.tried_layouts - known}
    return np.asarray(flags[[tuple(row) not in failed for row in flags.tolist()]])
