"""Which states of paused runs stay on file."""

import pytest

from autoprune.experiment.search_step import MOST, Pauses
from autoprune.layouts.layout import every
from autoprune.search.result import Finding
from autoprune.search.trial import Run
from autoprune.training.metrics import Score

LAYOUTS = every(8, 4)[: MOST + 3]


def ended(seed, quality, fidelity=0.3):
    score = None
    if quality is not None:
        score = Score(quality, quality, quality, 1.0, "validation", seed, 1.0)
    state = "failed" if score is None else "complete"
    return Finding(seed, LAYOUTS[seed], "search", state, score, "", quality, seed, fidelity)


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a trial, its state in its place, and says what lies there."""

    def make(promotes):
        pauses = Pauses(tmp_path, promotes)
        places = {seed: pauses.place(Run(one, seed, 0.3)) for seed, one in enumerate(LAYOUTS)}

        def end(seed, quality, fidelity=0.3):
            places[seed].path.parent.mkdir(exist_ok=True)
            places[seed].path.touch()
            pauses.ends(ended(seed, quality, fidelity))
            return {seed for seed, place in places.items() if place.path.exists()}

        return end

    return make


def test_the_best_that_paused_stay_until_they_went_on(end):
    done = end(True)
    for seed in range(MOST):
        kept = done(seed, 0.5 + 0.01 * seed)
    assert kept == set(range(MOST))
    assert done(MOST, 0.9) == set(range(1, MOST + 1)), "the weakest of them all has to go"
    assert done(MOST + 1, 0.1) == set(range(1, MOST + 1)), "a weak one does not come in"
    assert done(5, 0.7, fidelity=1.0) == set(range(1, MOST + 1)) - {5}
    assert done(MOST + 2, None) == set(range(1, MOST + 1)) - {5}, "what failed goes nowhere"


def test_where_nothing_goes_on_nothing_stays(end):
    assert end(False)(0, 0.9) == set()


def test_a_run_goes_on_from_the_place_of_its_pause(tmp_path):
    pauses = Pauses(tmp_path, True)
    pause, whole, other = (pauses.place(Run(LAYOUTS[0], *of)) for of in ((1, 0.3), (1,), (2,)))
    assert pause == whole != other
