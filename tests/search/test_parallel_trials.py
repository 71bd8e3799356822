"""Several layouts under way at once: the same course every time, also after a stop."""

import optuna
import pytest

from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.layouts.strategies import strategy_layouts
from autoprune.search.sampler import LayoutSampler
from autoprune.search.settings import SearchSettings
from autoprune.search.study import optimize_study
from autoprune.training.metrics import Score

FIRST = strategy_layouts(["top", "middle", "bottom"], 8, 4)


def measure(run, check):
    quality = sum((layer * 7 % 5 + 1) / 40 for layer in run.layout.keep)
    return Score(quality, quality, quality, 1 - quality, "validation", run.seed, 0.5)


class Begun:
    """Begins measurements, remembers how many are under way, and stops the `deadly`-th wait."""

    def __init__(self, deadly=0):
        self.deadly, self.waits, self.open, self.most = deadly, 0, 0, 0

    def __call__(self, run, check):
        self.open += 1
        self.most = max(self.most, self.open)

        def wait():
            self.waits += 1
            self.open -= 1
            if self.waits == self.deadly:
                raise KeyboardInterrupt
            return measure(run, check)

        return wait


def run(storage, begin, trials=11, side_by_side=2):
    settings = SearchSettings(
        depth=8, keep=4, trials=trials, initial_layouts=FIRST, parallel_trials=side_by_side
    )
    return optimize_study(measure, settings, storage, "fake", {"model": "fake"}, start_trial=begin)


@pytest.fixture
def storage():
    return optuna.storages.InMemoryStorage()


def course(outcome):
    return [(finding.layout, finding.score.quality) for finding in outcome.trial_results]


@pytest.mark.parametrize("side_by_side", [1, 2, 3])
def test_parallel_trials_run_in_batches_without_repeats(storage, side_by_side):
    begun = Begun()
    outcome = run(storage, begun, side_by_side=side_by_side)
    assert begun.most == side_by_side
    assert (outcome.trials, outcome.repeated) == (11, 0)
    assert [f.layout for f in outcome.trial_results[:3]] == list(FIRST.values())
    again = run(optuna.storages.InMemoryStorage(), Begun(), side_by_side=side_by_side)
    assert course(again) == course(outcome)


def test_parallel_trials_of_one_equals_the_default(storage):
    plain = run(optuna.storages.InMemoryStorage(), None, side_by_side=1)
    assert course(run(storage, Begun(), side_by_side=1)) == course(plain)


@pytest.mark.parametrize("deadly", range(1, 11))
def test_parallel_trials_resume_after_a_stop_within_a_batch(storage, deadly):
    stopped = run(storage, Begun(deadly))
    assert stopped.interrupted and stopped.trials == deadly - 1
    resumed = run(storage, Begun())
    undisturbed = run(optuna.storages.InMemoryStorage(), Begun())
    assert course(resumed) == course(undisturbed)
    assert resumed.found == undisturbed.found
    assert resumed.repeated == 0


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "brute-force"])
@pytest.mark.parametrize(("depth", "keep", "side_by_side"), [(3, 2, 4), (2, 1, 3), (12, 11, 16)])
def test_parallel_trials_with_more_processes_than_layouts(
    depth, keep, side_by_side, sampler, storage
):
    """Nothing is known yet, and nothing is left to try: some are tried again on new seeds."""
    settings = SearchSettings(
        depth=depth, keep=keep, trials=20, sampler=sampler, parallel_trials=side_by_side
    )
    outcome = optimize_study(measure, settings, storage, "fake", {}, start_trial=Begun())
    layouts = count_layouts(depth, keep)
    assert outcome.trials == (20 if sampler == "gp" else layouts)
    assert {one.layout for one in outcome.trial_results} == set(all_layouts(depth, keep))
    assert all(one.score is not None for one in outcome.trial_results)


def test_claims_of_a_batch_that_never_started_are_no_deaths(storage, monkeypatch):
    """A run that a fault elsewhere kept from beginning is offered again however often that is."""
    propose_run = LayoutSampler.propose_run

    def faulty(sampler, past):
        if past.running:
            raise RuntimeError("a fault of the proposal's")
        return propose_run(sampler, past)

    monkeypatch.setattr(LayoutSampler, "propose_run", faulty)
    for _ in range(4):
        with pytest.raises(RuntimeError, match="a fault of the proposal's"):
            run(storage, Begun())
    monkeypatch.undo()
    outcome = run(storage, Begun())
    assert all(finding.score is not None for finding in outcome.trial_results)
    assert not any("died" in trial.user_attrs for trial in storage.get_all_trials(0))


def test_parallel_trials_end_in_a_small_space(storage):
    settings = SearchSettings(depth=4, keep=2, trials=50, sampler="random", parallel_trials=4)
    outcome = optimize_study(measure, settings, storage, "fake", {}, start_trial=Begun())
    assert outcome.trials == 6
    assert len({finding.layout for finding in outcome.trial_results}) == 6
    assert outcome.found == Layout(4, (1, 2))
