import pytest

from autoprune.search import timer
from autoprune.search.timer import Timer


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose one entry is the time."""
    now = [100.0]
    monkeypatch.setattr(timer.time, "monotonic", lambda: now[0])
    return now


def rounds(clock, seconds, lasts):
    """Return how many rounds are made when they last so long."""
    watch, made = Timer(seconds), 0
    for last in lasts:
        if watch.over():
            break
        clock[0] += last
        made += 1
    return made


@pytest.mark.parametrize(
    ("seconds", "lasts", "made"),
    [
        (None, [9, 9, 9], 3),
        (30, [10, 10, 10, 10], 3),
        (29, [10, 10, 10, 10], 2),
        (1, [10, 10], 1),  # the first is always made
        (30, [16, 1, 1], 1),  # another as slow as that would not fit
        (30, [1, 16, 1], 2),
    ],
)
def test_no_round_begins_that_would_end_too_late(clock, seconds, lasts, made):
    assert rounds(clock, seconds, lasts) == made


def test_a_search_out_of_time_chooses_among_what_it_has(clock, go, planted):
    measure = planted(0, 8, 4)

    def slow(run, check):
        clock[0] += 10
        return measure(run, check)

    outcome = go(slow, trials=9, seconds=45)
    assert (outcome.trials, outcome.interrupted) == (4, False)
    assert outcome.found in {finding.layout for finding in outcome.findings}
    assert go(slow, trials=9, seconds=15).trials == 5  # the same again goes on
    assert go(slow, trials=9).findings[:5] == go(trials=9).findings[:5]
