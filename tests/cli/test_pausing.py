"""Which states of paused runs stay on file."""

import pytest

from autoprune.experiment.search_step import MAX_PAUSED_CHECKPOINTS, PausedRuns
from autoprune.layouts.layout import all_layouts
from autoprune.search.result import TrialResult
from autoprune.search.trial import TrialRun
from autoprune.training.metrics import Score

LAYOUTS = all_layouts(8, 4)[: MAX_PAUSED_CHECKPOINTS + 3]


def ended(seed, quality, fidelity=0.3):
    score = None
    if quality is not None:
        score = Score(quality, quality, quality, 1.0, "validation", seed, 1.0)
    state = "failed" if score is None else "complete"
    return TrialResult(seed, LAYOUTS[seed], "search", state, score, "", quality, seed, fidelity)


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a trial, its state in its place, and says what lies there."""

    def make(promotes):
        pauses = PausedRuns(tmp_path, promotes)
        places = {seed: pauses.place(TrialRun(one, seed, 0.3)) for seed, one in enumerate(LAYOUTS)}

        def end(seed, quality, fidelity=0.3):
            places[seed].path.parent.mkdir(exist_ok=True)
            places[seed].path.touch()
            pauses.ends(ended(seed, quality, fidelity))
            return {seed for seed, place in places.items() if place.path.exists()}

        return end

    return make


def test_the_best_that_paused_stay_until_they_went_on(end):
    done = end(True)
    for seed in range(MAX_PAUSED_CHECKPOINTS):
        kept = done(seed, 0.5 + 0.01 * seed)
    assert kept == set(range(MAX_PAUSED_CHECKPOINTS))
    assert done(MAX_PAUSED_CHECKPOINTS, 0.9) == set(range(1, MAX_PAUSED_CHECKPOINTS + 1)), (
        "the weakest of them all has to go"
    )
    assert done(MAX_PAUSED_CHECKPOINTS + 1, 0.1) == set(range(1, MAX_PAUSED_CHECKPOINTS + 1)), (
        "a weak one does not come in"
    )
    assert done(5, 0.7, fidelity=1.0) == set(range(1, MAX_PAUSED_CHECKPOINTS + 1)) - {5}
    assert done(MAX_PAUSED_CHECKPOINTS + 2, None) == set(range(1, MAX_PAUSED_CHECKPOINTS + 1)) - {
        5
    }, "what failed goes nowhere"


def test_where_nothing_goes_on_nothing_stays(end):
    assert end(False)(0, 0.9) == set()


def test_a_run_goes_on_from_the_place_of_its_pause(tmp_path):
    pauses = PausedRuns(tmp_path, True)
    pause, whole, other = (pauses.place(TrialRun(LAYOUTS[0], *of)) for of in ((1, 0.3), (1,), (2,)))
    assert pause == whole != other
