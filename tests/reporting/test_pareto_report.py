"""The report on several numbers of layers: its advice, its table, its escaping."""

from dataclasses import replace

import pytest

from autoprune.evaluation.pareto import Limits
from autoprune.reporting.pareto_report import pareto_advice, pareto_markdown
from made_fronts import CURVE, front, point


@pytest.mark.parametrize("qualities", [(0.50, 0.52, 0.60, 0.80), (0.5, 0.6, 0.7, 0.8)])
def test_advice_without_a_knee_names_the_best_on_validation(qualities):
    steeper = [point(keep, quality) for keep, quality in zip((2, 3, 4, 5), qualities, strict=True)]
    [advice] = pareto_advice(front(points=steeper))
    assert advice.startswith("Quality has no knee against latency")
    assert "The best on validation has 5 layers, 12:0-4: 80.0 % on validation" in advice


def test_advice_for_limits_that_no_model_keeps_names_the_nearest():
    last = pareto_advice(front(Limits(drop=1.0, latency_ms=5.0)))[-1]
    assert last.startswith(
        "No model is within the limits, a drop of at most 1.0 points and at most 5.0 ms a text"
    )
    assert "the nearest, 4 layers, 12:0-3, is 3.0 points below" in last


def test_markdown_escapes_names_and_shows_every_point():
    hostile = {"model": "<b>m", "task": "a|b", "studies": ("m-keep2", "m|keep3")}
    text = pareto_markdown(front(Limits(drop=3.0), **hostile))
    assert "<b>" not in text
    assert "a\\|b" in text and "m\\|keep3" in text
    assert text.count("●○") >= len(CURVE)
    assert "The smallest model within the limits, a drop of at most 3.0 points, is 4 layers" in text


def test_nearest_model_has_learned_something():
    small = replace(point(2, 0.2), learned=False)
    points = [small, point(4, 0.7), point(6, 0.75)]
    advice = pareto_advice(front(Limits(megabytes=3), points=points))
    assert "the nearest, 6 layers, 12:0-5, is " in advice[-1]
