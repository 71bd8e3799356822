import warnings

import numpy as np
import pytest

from autoprune.search.space import draw, grid
from autoprune.search.surrogate import Surrogate, expected_improvement


def test_additive_qualities_are_learnt_from_few_runs():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=12)
    seen = draw(12, 6, 40, rng)
    mean, _ = Surrogate.fit(seen, seen @ weights).predict(grid(12, 6))
    assert np.corrcoef(mean, grid(12, 6) @ weights)[0, 1] > 0.99


def test_noise_is_fitted_and_left_out_of_the_uncertainty():
    rng = np.random.default_rng(0)
    seen = np.repeat(draw(12, 6, 20, rng), 8, axis=0)
    worth = seen @ np.linspace(-1, 1, 12)
    surrogate = Surrogate.fit(seen, worth + rng.normal(scale=0.5, size=len(seen)))
    mean, std = surrogate.predict(seen)
    assert np.sqrt(surrogate.noise) == pytest.approx(0.5, rel=0.25)
    assert std.max() < 0.3  # 8 runs each: well below the noise of one
    assert np.abs(mean - worth).mean() < 0.2


def test_uncertainty_grows_away_from_the_runs():
    rng = np.random.default_rng(1)
    seen = draw(12, 6, 25, rng)
    _, std = Surrogate.fit(seen, rng.normal(size=25)).predict(np.vstack([seen[:1], 1 - seen[:1]]))
    assert std[1] > std[0]


@pytest.mark.parametrize("qualities", [[0.5], [0.5, 0.5, 0.5], [0.5, 0.6], [0.0, 0.0, 1.0]])
def test_few_or_equal_qualities_are_no_trouble(qualities):
    seen = grid(12, 6)[: len(qualities)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, std = Surrogate.fit(seen, np.array(qualities)).predict(grid(12, 6))
    assert np.isfinite(mean).all() and np.isfinite(std).all()
    assert (std >= 0).all()


def test_believed_runs_lower_the_uncertainty_and_leave_the_mean():
    rng = np.random.default_rng(2)
    seen, running = draw(12, 6, 20, rng), draw(12, 6, 3, rng)
    before = Surrogate.fit(seen, seen @ rng.normal(size=12) + 3.0)
    after = before.believe(running)
    assert (after.predict(running)[1] < before.predict(running)[1]).all()
    assert after.predict(running)[0] == pytest.approx(before.predict(running)[0], abs=1e-3)


def test_large_spaces_are_predicted_in_parts():
    rng = np.random.default_rng(2)
    seen = draw(14, 7, 10, rng)
    surrogate = Surrogate.fit(seen, rng.normal(size=10))
    rows = draw(14, 7, 25_000, rng)
    mean, std = surrogate.predict(rows)
    last = surrogate.predict(rows[-1:])
    assert (mean[-1], std[-1]) == pytest.approx((last[0][0], last[1][0]), abs=1e-6)


def test_expected_improvement_known_answers():
    gains = expected_improvement(np.array([1.0, 0.0, -9.0]), np.array([1.0, 0.0, 1.0]), 1.0)
    assert gains == pytest.approx([0.3989423, 0.0, 0.0], abs=1e-6)
    assert expected_improvement(np.array([2.0]), np.array([0.0]), 1.5) == pytest.approx([0.5])
