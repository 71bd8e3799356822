"""Timing by turns, and the median's interval against known answers."""

import random
import statistics
import time

import pytest

from autoprune.encoders.profiling import (
    MIN_ROUNDS,
    MedianInterval,
    measure_in_turns,
    median_interval,
)


def test_calls_take_turns_and_the_first_rounds_do_not_count():
    made = []
    seconds = measure_in_turns({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, 4)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}
    rounds = ["".join(made[start : start + 2]) for start in range(0, len(made), 2)]
    assert rounds == ["ab", "ba"] * 3  # two to warm up, four that count


def test_what_was_slow_only_while_warming_up_is_not_slow():
    waits = iter([0.05, 0.05])
    seconds = measure_in_turns({"late": lambda: time.sleep(next(waits, 0))}, 6)
    assert max(seconds["late"]) < 0.05


def test_a_call_is_as_long_as_it_takes():
    seconds = measure_in_turns({1: lambda: time.sleep(0.01), 2: lambda: time.sleep(0.03)}, 6)
    assert median_interval(seconds[1]).median >= 0.01
    assert median_interval(seconds[2]).median >= 0.03
    assert len(set(seconds[1])) > 1


# Table of the order statistics that hold the median with 95 %: n, rank of the lower end (from 1).
@pytest.mark.parametrize(
    ("number", "rank"),
    [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)],
)
def test_the_interval_is_that_of_the_sign_test(number, rank):
    values = list(range(1, number + 1))
    random.Random(0).shuffle(values)
    found = median_interval(values)
    assert found == MedianInterval(statistics.median(values), rank, number + 1 - rank)


def test_the_interval_holds_the_true_median_often_enough():
    draw = random.Random(1)
    held = 0
    for _ in range(2000):
        found = median_interval([draw.expovariate(1.0) for _ in range(15)])
        held += found.low <= 0.693147 <= found.high
    assert 0.95 <= held / 2000 <= 0.98  # exactly 0.9648


def test_too_few_rounds_give_no_interval():
    with pytest.raises(AssertionError):
        median_interval([1.0] * (MIN_ROUNDS - 1))
