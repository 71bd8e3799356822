"""Rules that propose the next layout from what a study knows: one function each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import propose_randomly
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
)
from autoprune.search.trial import Observation, TrialRun

FloatArray = NDArray[np.float64]


def expected_improvement(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return by how much each row is expected to exceed `incumbent`: (rows,).

    Jones et al. 1998, https://doi.org/10.1023/A:1008306431147.
    """
    spread = np.maximum(std, 1e-12)
    z = (mean - incumbent) / spread
    # scipy.stats.norm takes twice as long, and this is asked for a million values at once.
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(spread * (z * ndtr(z) + density), dtype=np.float64)


def knowledge_gradient(mean: FloatArray, moves: FloatArray) -> FloatArray:
    """Return how much higher the best mean is expected to be after each run: (runs,).

    `mean` (rows,) is expected now; run `j` moves row `i` by `moves[k, i, j]` for each standard
    deviation of its surprise `k`; the surprises are independent. What counts is the choice at the
    end, not the run's own luck: under noise a repeat of the leader can be worth more than a new
    layout. A run that changes the choice between the leader and one rival is counted exactly; of
    several rivals the worthiest is taken,
    a lower bound. Frazier, Powell and Dayanik 2009, https://doi.org/10.1287/ijoc.1080.0314.
    """
    leader = int(np.argmax(mean))
    behind = (mean[leader] - mean)[:, None]  # (rows, 1)
    apart = moves - moves[:, leader, None]  # how a surprise moves a rival against the leader
    apart = np.sqrt((apart**2).sum(axis=0))  # (rows, runs)
    return np.asarray(expected_improvement(-behind, apart, 0.0).max(axis=0))


MAX_STARTS = 5
"""Layouts tried before the first model is fitted, the enqueued strategies among them."""

_SEEDS = 10  # best layouts whose neighbours are looked at, where the space cannot be listed

_SAMPLES = 2_000  # random layouts looked at beside them

_CLIMBS = 3  # best of all these from which swaps climb further

_LOOKED_AT = 300  # layouts whose runs are weighed against each other; 1,000 chose the same

_LEARNT = 80  # runs, evenly spread, from which the kernel is fitted; all are conditioned on

_LEADERS = 20  # of the best means, which these runs may overtake


def propose_by_gp(history: SearchHistory, rng: np.random.Generator) -> Layout | TrialRun:
    """Take the layout of which one more run is expected to better the final choice the most.

    That may be a layout that was run before, on a new seed. Where the history promotes, the choice
    is that at the full budget, and what betters it most for its time may be a run that goes on
    from its pause: so the leaders race, and one that is surely behind is trained no further. Runs
    under way count as if they had ended as expected, so that workers do not crowd together.
    """
    layouts = comb(history.depth, history.keep)
    if len(history.tried_layouts) < min(MAX_STARTS, layouts):
        return propose_randomly(history, rng)
    if not history.observations:  # of small spaces all may be under way: then one of them again
        if len(history.tried_layouts) < layouts or not history.running:
            return propose_randomly(history, rng)
        return history.running[rng.integers(len(history.running))].layout
    seen = layout_to_flags([one.run.layout for one in history.observations])
    surrogate = fit_surrogate(
        history.observations, history.proxy_scores, (1.0,) if history.promote else ()
    )
    if history.running:
        flags = layout_to_flags([run.layout for run in history.running])
        shares = np.array([run.fidelity for run in history.running])
        surrogate = surrogate.believe(flags, shares, proxy_column(flags, history.proxy_scores))
    incumbent = float(surrogate.expect(seen, -1, proxy_column(seen, history.proxy_scores)).max())
    if layouts <= MAX_LISTED:
        space = all_flags(history.depth, history.keep)
        pool = space[rng.permutation(len(space))]  # equals: by chance
    else:
        assert history.proxy_scores is None, (
            "a space too large to list has no table of cheap scores"
        )
        best = np.argsort(-surrogate.expect(seen, -1), kind="stable")[:_SEEDS]
        near = [swap_neighbours(row) for row in np.unique(seen[best], axis=0)]
        near += [draw_flags(history.depth, history.keep, _SAMPLES, rng), seen]
        pool = _climb(np.concatenate(near), surrogate, incumbent)
    pool = _possible(pool, history)
    mean, std = surrogate.predict(pool, proxy_column(pool, history.proxy_scores))
    chances = top_candidates(mean, std, incumbent)
    rows, hints = pool[chances], proxy_column(pool[chances], history.proxy_scores)
    quick = min(one.run.fidelity for one in history.observations)
    gains = knowledge_gradient(mean[chances], surrogate.teaches(rows, hints, quick))
    if paused := history.paused:
        further = surrogate.teaches(rows, hints, 1.0, np.array(paused))
        more = knowledge_gradient(mean[chances], further) / (1.0 - quick)
        if history.promotion_due or more.max() > gains.max() / quick:
            return replace(history.observations[paused[int(np.argmax(more))]].run, fidelity=1.0)
    return flags_to_layout(rows[int(np.argmax(gains))])


def fit_surrogate(
    observed: Sequence[Observation],
    hints: Mapping[Layout, float] | None = None,
    budgets: Sequence[float] = (),
) -> Surrogate:
    """Fit a surrogate to what was seen of runs, and to the cheap scores of their layouts.

    `budgets`: see `Surrogate.fit`.
    """
    flags = layout_to_flags([one.run.layout for one in observed])
    losses = np.array([one.loss for one in observed])
    runs = Observations(
        flags,
        np.array([one.quality for one in observed]),
        np.array([one.run.fidelity for one in observed]),
        proxy_column(flags, hints),
        seeds=np.array([one.run.seed for one in observed]),
        losses=losses if np.isfinite(losses).any() else None,
    )
    learnt = runs.every(-(-len(observed) // _LEARNT))
    if set(learnt.fidelities) != set(runs.fidelities):
        return Surrogate.fit(runs, budgets=budgets)
    return Surrogate.fit(runs, learnt, budgets)


def proxy_column(flags: LayerFlags, hints: Mapping[Layout, float] | None) -> FloatArray | None:
    """Return the cheap score of each row: (rows,)."""
    return None if hints is None else np.array([hints[flags_to_layout(row)] for row in flags])


def _gains(flags: LayerFlags, surrogate: Surrogate, incumbent: float) -> FloatArray:
    """Return the expected improvement of each row."""
    return expected_improvement(*surrogate.predict(flags), incumbent)


def top_candidates(mean: FloatArray, std: FloatArray, incumbent: float) -> NDArray[np.int64]:
    """Return the numbers of the rows that may be the best, and of those thought to be."""
    gains = expected_improvement(mean, std, incumbent)
    order = np.argsort(-gains, kind="stable")[:_LOOKED_AT]
    leaders = np.argsort(-mean, kind="stable")[:_LEADERS]
    return np.concatenate([order, np.setdiff1d(leaders, order)])


def _climb(pool: LayerFlags, surrogate: Surrogate, incumbent: float) -> LayerFlags:
    """Return `pool` with the ends of swap ascents on expected improvement from its best rows."""
    order = np.argsort(-_gains(pool, surrogate, incumbent), kind="stable")[:_CLIMBS]
    ends = []
    for row in pool[order]:
        gain = _gains(row[None, :], surrogate, incumbent)[0]
        while True:
            near = swap_neighbours(row)
            gains = _gains(near, surrogate, incumbent)
            if gains.max() <= gain:
                break
            row, gain = near[int(np.argmax(gains))], gains.max()
        ends.append(row)
    return np.unique(np.concatenate([pool, np.array(ends)]), axis=0)


def _possible(flags: LayerFlags, history: SearchHistory) -> LayerFlags:
    """Return the rows that are not known to fail: those tried without a score are."""
    known = {one.run.layout for one in history.observations} | {
        run.layout for run in history.running
    }
    failed = {layout.flags for layout in history.tried_layouts - known}
    fits = [tuple(row) not in failed for row in flags.tolist()]
    return np.asarray(flags[fits])
