import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprune.search.gp_kernel import Kernel, KernelRows
from autoprune.search.gp_model import Observations, Surrogate, encode_flags
from autoprune.search.search_space import all_flags, draw_flags


def full_budget_runs(flags, qualities, proxy_scores=None):
    return Observations(flags, qualities, np.ones(len(flags)), proxy_scores)


def test_additive_qualities_are_learnt_from_few_runs():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=12)
    seen = draw_flags(12, 6, 40, rng)
    mean, _ = Surrogate.fit(full_budget_runs(seen, seen @ weights)).predict(all_flags(12, 6))
    assert np.corrcoef(mean, all_flags(12, 6) @ weights)[0, 1] > 0.99


def test_noise_is_fitted_and_left_out_of_the_uncertainty():
    rng = np.random.default_rng(0)
    seen = np.repeat(draw_flags(12, 6, 20, rng), 8, axis=0)
    worth = seen @ np.linspace(-1, 1, 12)
    surrogate = Surrogate.fit(full_budget_runs(seen, worth + rng.normal(scale=0.5, size=len(seen))))
    mean, std = surrogate.predict(seen)
    assert np.sqrt(surrogate.kernel.noise_variance[-1]) * surrogate.scaler.scales[
        -1
    ] == pytest.approx(0.5, rel=0.25)
    assert std.max() < 0.3  # 8 runs each: well below the noise of one
    assert np.abs(mean - worth).mean() < 0.2


def test_uncertainty_grows_away_from_the_runs():
    rng = np.random.default_rng(1)
    seen = draw_flags(12, 6, 25, rng)
    surrogate = Surrogate.fit(full_budget_runs(seen, rng.normal(size=25)))
    _, std = surrogate.predict(np.vstack([seen[:1], 1 - seen[:1]]))
    assert std[1] > std[0]


@pytest.mark.parametrize("qualities", [[0.5], [0.5, 0.5, 0.5], [0.5, 0.6], [0.0, 0.0, 1.0]])
def test_surrogate_fits_few_or_equal_qualities(qualities):
    seen = all_flags(12, 6)[: len(qualities)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, std = Surrogate.fit(full_budget_runs(seen, np.array(qualities))).predict(
            all_flags(12, 6)
        )
    assert np.isfinite(mean).all() and np.isfinite(std).all()
    assert (std >= 0).all()


def test_surrogate_with_kernel_of_a_part_is_conditioned_on_all_runs():
    rng = np.random.default_rng(9)
    weights, space = rng.normal(size=12), all_flags(12, 6)
    seen = draw_flags(12, 6, 90, rng)
    losses = np.where(np.arange(90) % 3, 1.0 - seen @ weights, np.nan)  # of the part, none
    runs = Observations(seen, seen @ weights + rng.normal(size=90), np.ones(90), losses=losses)
    part = runs.subsample(3)
    assert len(part.flags) == 30 and not np.isfinite(part.losses).any()
    whole, few = Surrogate.fit(runs, part), Surrogate.fit(part)
    known = [np.corrcoef(s.predict(space)[0], space @ weights)[0, 1] for s in (whole, few)]
    assert known[0] > known[1]


def test_fantasize_lowers_the_uncertainty_and_keeps_the_mean():
    rng = np.random.default_rng(2)
    seen, running = draw_flags(12, 6, 20, rng), draw_flags(12, 6, 3, rng)
    before = Surrogate.fit(full_budget_runs(seen, seen @ rng.normal(size=12) + 3.0))
    after = before.fantasize(running, np.ones(3))
    assert (after.predict(running)[1] < before.predict(running)[1]).all()
    assert after.predict(running)[0] == pytest.approx(before.predict(running)[0], abs=1e-3)
    assert before.fantasize(running, np.full(3, 0.5)) is before  # no run of that budget is known


def test_predict_large_spaces_in_chunks():
    rng = np.random.default_rng(2)
    seen = draw_flags(14, 7, 10, rng)
    surrogate = Surrogate.fit(full_budget_runs(seen, rng.normal(size=10)))
    rows = draw_flags(14, 7, 25_000, rng)
    mean, std = surrogate.predict(rows)
    last = surrogate.predict(rows[-1:])
    assert (mean[-1], std[-1]) == pytest.approx((last[0][0], last[1][0]), abs=1e-6)


def test_surrogate_learns_the_full_budget_from_quick_runs():
    """Eight runs of the full budget alone know little; beside forty cheap ones they know most."""
    rng = np.random.default_rng(5)
    weights, space = rng.normal(size=12), all_flags(12, 6)
    cheap, dear = draw_flags(12, 6, 40, rng), draw_flags(12, 6, 8, rng)
    qualities = np.concatenate([2 * (cheap @ weights) - 7, dear @ weights])
    qualities += rng.normal(scale=0.3, size=48)
    share = np.repeat([0.3, 1.0], [40, 8])
    both = Surrogate.fit(Observations(np.concatenate([cheap, dear]), qualities, share))
    alone = Surrogate.fit(full_budget_runs(dear, qualities[40:]))
    truth = space @ weights
    known, guessed = both.predict(space)[0], alone.predict(space)[0]
    assert np.corrcoef(known, truth)[0, 1] > 0.97 > 0.9 > np.corrcoef(guessed, truth)[0, 1]


def test_surrogate_predicts_a_budget_without_runs():
    """From quick runs alone: the full budget ranks as they do, and a run with it tells more."""
    rng = np.random.default_rng(7)
    seen, asked = draw_flags(12, 6, 30, rng), all_flags(12, 6)[::40]
    quick = Observations(seen, seen @ rng.normal(size=12) + rng.normal(size=30), np.full(30, 0.3))
    alone, both = Surrogate.fit(quick), Surrogate.fit(quick, budgets=(0.3, 1.0))
    assert np.corrcoef(alone.predict(asked)[0], both.predict(asked)[0])[0, 1] > 0.99
    full, less = (
        np.diagonal(both.posterior_mean_shift(asked, None, budget)[0]) for budget in (1.0, 0.3)
    )
    assert (full > less).all()


@pytest.mark.parametrize("full", [5, 40])
def test_output_scaler_of_a_budget_with_enough_runs_has_its_own_scale(full):
    rng = np.random.default_rng(3)
    seen = draw_flags(12, 6, 60 + full, rng)
    share = np.repeat([0.3, 1.0], [60, full])
    worth = seen @ rng.normal(size=12)
    unit = Surrogate.fit(Observations(seen, np.where(share < 1, 5 * worth, worth), share)).scaler
    assert (unit.scales[1] < 0.5 * unit.scales[0]) == (full == 40)


@pytest.mark.parametrize(("worth", "low", "high"), [(1.0, 0.5, 1.3), (0.0, -0.15, 0.15)])
def test_proxy_score_is_trusted_as_far_as_runs_agree(worth, low, high):
    rng = np.random.default_rng(4)
    space = all_flags(12, 6)
    hints = rng.normal(size=len(space))  # nothing that layers explain
    truth = worth * hints + 0.3 * rng.normal(size=len(space))
    rows = rng.choice(len(space), 60, replace=False)
    surrogate = Surrogate.fit(full_budget_runs(space[rows], truth[rows], hints[rows] * 40 + 7))
    assert low < surrogate.trust * surrogate.scaler.scales[-1] < high
    mean, _ = surrogate.predict(space, hints * 40 + 7)
    rest = np.setdiff1d(np.arange(len(space)), rows)
    gained = np.corrcoef(mean[rest], truth[rest])[0, 1]
    assert gained > 0.9 if worth else abs(gained) < 0.2


@pytest.mark.parametrize("paused", [None, 5])
@pytest.mark.parametrize("known", [False, True])
def test_posterior_mean_shift_is_the_change_by_a_run(known, paused):
    rng = np.random.default_rng(8)
    seen, asked = draw_flags(12, 6, 20, rng), draw_flags(12, 6, 7, rng)
    share = np.where(np.arange(20) % 4, 0.3, 1.0)
    losses, seeds = rng.normal(size=20) if known else None, np.arange(20)
    before = Surrogate.fit(Observations(seen, rng.normal(size=20), share, None, seeds, losses))
    made, fidelity, seed = (
        (asked[2:3], 0.3, 20) if paused is None else (seen[paused : paused + 1], 1.0, paused)
    )
    levels = before.scaler.outputs_at(fidelity)
    course = before.runs.seeds_and_run_ids()[1][paused] if paused is not None else 20
    alike = np.full(len(levels), 1)
    run = KernelRows(
        encode_flags(made[[0] * len(levels)]), np.array(levels), None, alike * seed, alike * course
    )
    cross = before.kernel.covariance(run, before.rows) + before.kernel.noise_covariance(
        run, before.rows
    )
    solved = np.linalg.solve(before.cholesky_factor @ before.cholesky_factor.T, cross.T)
    spread = (
        np.array([[before.kernel.run_covariance(run, a, b)[0] for b in levels] for a in levels])
        - cross @ solved
    )
    surprises = np.linalg.cholesky(spread)  # the loss first, then what the quality adds
    moves = before.posterior_mean_shift(
        asked, None, fidelity, None if paused is None else np.array([3, paused])
    )
    for number, surprise in enumerate(surprises.T):
        values = cross @ before.alpha + surprise
        values = values * before.scaler.scales[levels] + before.scaler.means[levels]
        more = Observations(
            made, values[-1:], np.array([fidelity]), losses=values[:1] if known else None
        )
        runs = replace(before.runs.concat(more), seeds=np.append(seeds, seed))
        after = Surrogate.condition(runs, before.scaler, before.kernel)
        change = after.predict(asked)[0] - before.predict(asked)[0]
        assert change == pytest.approx(moves[number, :, 2 if paused is None else 1], abs=1e-5)


def test_continued_run_tells_less_than_two_runs():
    """Pause and end share what the run had by luck; a run of its own has luck of its own."""
    rng = np.random.default_rng(11)
    space, weights = all_flags(12, 6), rng.normal(size=12)
    seen = np.repeat(draw_flags(12, 6, 30, rng), 2, axis=0)
    luck = rng.normal(size=30)
    qualities = seen @ weights + np.repeat(luck, 2) + 0.2 * rng.normal(size=60)
    share, own = np.tile([0.3, 1.0], 30), np.arange(60)
    went_on = Surrogate.fit(Observations(seen, qualities, share, seeds=own // 2))
    apart = Surrogate.fit(Observations(seen, qualities, share, seeds=own))
    assert went_on.kernel.noise_correlation > 0.7
    assert went_on.predict(seen)[1].mean() > 1.2 * apart.predict(seen)[1].mean()
    errors = [one.predict(space)[0] - space @ weights for one in (went_on, apart)]
    assert np.std(errors[0]) < 1.1 * np.std(errors[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 3), st.booleans(), st.booleans())
def test_kernel_gradients_equal_finite_differences(seed, hints, levels, seeds, tied):
    rng = np.random.default_rng(seed)
    level = rng.integers(levels, size=9)
    rows = KernelRows(
        encode_flags(draw_flags(8, 4, 9, rng)),
        level,
        rng.normal(size=9) if hints else None,
        np.arange(9) // 3 if seeds else np.arange(9) // (2 if tied else 1),
        np.arange(9) // 2 if tied else np.arange(9),
    )
    number = 3 + hints + 2 * rows.shares_seeds + tied + 2 * (levels - 1) + levels
    logs = rng.normal(scale=0.7, size=number)

    def whole(at):
        kernel = Kernel.from_log_params(at, rows, levels)
        return kernel.covariance(rows, rows) + kernel.noise_covariance(rows, rows)

    slopes = list(Kernel.from_log_params(logs, rows, levels).gradients(rows))
    assert len(slopes) == len(logs)
    for slope, step in zip(slopes, 1e-5 * np.eye(number), strict=True):
        assert slope == pytest.approx((whole(logs + step) - whole(logs - step)) / 2e-5, abs=1e-6)
    kernel = Kernel.from_log_params(logs, rows, levels)
    seed_free = replace(rows, seeds=None, run_ids=None)
    assert kernel.variance(rows) == pytest.approx(np.diag(kernel.covariance(seed_free, seed_free)))
    spread = [kernel.run_covariance(rows, one, one)[i] for i, one in enumerate(level)]
    assert spread == pytest.approx(np.diag(whole(logs)))


@pytest.mark.parametrize("seed", range(3))
def test_loss_with_less_noise_improves_the_prediction(seed):
    """Quality is two parts noise to one of worth; the loss shows a third of that noise."""
    rng = np.random.default_rng(seed)
    space, weights = all_flags(12, 6), rng.normal(size=12)
    seen = draw_flags(12, 6, 60, rng)
    noise = rng.normal(size=60)
    worth = seen @ weights / (seen @ weights).std()
    qualities = 50 + worth + 1.4 * noise
    losses = 2 - 0.1 * (worth + 0.2 * rng.normal(size=60) + 0.4 * noise)
    alone = Surrogate.fit(full_budget_runs(seen, qualities))
    both = Surrogate.fit(Observations(seen, qualities, np.ones(60), losses=losses))

    def known(surrogate):
        return np.corrcoef(surrogate.predict(space)[0], space @ weights)[0, 1]

    assert known(both) > known(alone) + 0.05
    assert both.kernel.noise_correlation > 0.5
    worthless = Surrogate.fit(
        Observations(seen, qualities, np.ones(60), losses=rng.normal(size=60))
    )
    assert known(worthless) > known(alone) - 0.1


def test_seed_effects_on_similar_layouts_are_not_taken_for_quality():
    """The runs of one seed err alike: those of three seeds are weighed as three witnesses."""
    rng = np.random.default_rng(6)
    space, gained = all_flags(12, 6), []
    for _ in range(6):
        truth, whims = rng.normal(size=12), 1.5 * rng.normal(size=(3, 12))
        rows = rng.choice(len(space), 90, replace=False)
        seen, seeds = space[rows], np.repeat([0, 1, 2], [70, 10, 10])
        qualities = seen @ truth + (seen * whims[seeds]).sum(axis=1)
        surrogates = [Surrogate.fit(Observations(seen, qualities, np.ones(90), seeds=seeds))]
        surrogates += [Surrogate.fit(full_budget_runs(seen, qualities))]
        told, untold = (np.corrcoef(s.predict(space)[0], space @ truth)[0, 1] for s in surrogates)
        gained.append(told - untold)
    assert np.mean(gained) > 0.05
