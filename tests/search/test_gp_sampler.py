import numpy as np
import pytest

from autoprune.search.gp_sampler import expected_improvement, knowledge_gradient


def test_expected_improvement_known_answers():
    gains = expected_improvement(np.array([1.0, 0.0, -9.0]), np.array([1.0, 0.0, 1.0]), 1.0)
    assert gains == pytest.approx([0.3989423, 0.0, 0.0], abs=1e-6)
    assert expected_improvement(np.array([2.0]), np.array([0.0]), 1.5) == pytest.approx([0.5])


def test_knowledge_gradient_is_zero_where_the_choice_stays():
    """All means moved alike, or none: the choice stays, and so does its expected worth."""
    mean = np.array([1.0, 0.5, 0.9])
    assert knowledge_gradient(mean, np.ones((1, 3, 2))) == pytest.approx(0, abs=1e-9)
    assert knowledge_gradient(mean, np.zeros((2, 3, 2))) == pytest.approx(0, abs=1e-9)


def test_knowledge_gradient_of_two_rows_is_exact():
    """By drawing surprises: the mean of the larger of two means, less the larger mean now."""
    mean = np.array([1.0, 0.8])
    moves = np.array([[[0.1, 0.5], [0.4, -0.2]], [[0.3, 0.0], [-0.2, 0.1]]])
    surprise = np.random.default_rng(0).normal(size=(2, 400_000))
    after = mean[:, None, None] + np.einsum("kij,kd->ijd", moves, surprise)  # (rows, runs, draws)
    drawn = after.max(axis=0).mean(axis=1) - mean.max()
    assert knowledge_gradient(mean, moves) == pytest.approx(drawn, abs=2e-3)


def test_knowledge_gradient_can_prefer_a_repeat():
    mean = np.array([1.0, 0.95, 0.2])
    repeat, new = [0.5, 0.0, 0.0], [0.0, 0.0, 0.6]
    gains = knowledge_gradient(mean, np.array([repeat, new]).T[None])
    assert gains[0] > gains[1]
