"""Runs that pause at the quick budget and go on to the full one: which do, and what that tells."""

import dataclasses
from collections import Counter

import numpy as np
import optuna
import pytest

from autoprune.errors import OptionError, TrialError
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.search.gp_sampler import propose_by_gp
from autoprune.search.history import MAX_PAUSED, SearchHistory
from autoprune.search.result import TrialResult, search_result
from autoprune.search.search_space import layout_rank
from autoprune.search.trial import Observation, TrialRun, flag_params
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score

QUICK = 0.25


@pytest.fixture
def promoted(go, tmp_path):
    """Search with runs that may go on."""
    return lambda trials=20, **changes: go(trials=trials, fidelity=QUICK, promote=True, **changes)


def made(outcome):
    return [TrialRun(one.layout, one.seed, one.fidelity) for one in outcome.trial_results]


def test_history_lists_paused_runs_and_due_promotions():
    seen = [
        Observation(TrialRun(one, i, QUICK), 0.5) for i, one in enumerate(all_layouts(8, 4)[:6])
    ]
    ends = [Observation(TrialRun(one.run.layout, one.run.seed, 1.0), 0.7) for one in seen[2:4]]
    history = past(seen + ends, [TrialRun(seen[5].run.layout, 5, 1.0)])
    assert history.paused == [0, 1, 4]
    assert dataclasses.replace(history, promote=False).paused == []
    assert [past(seen[:n]).promotion_due for n in (3, 4, 5)] == [False, True, True]
    assert not history.promotion_due


def test_promotion_continues_one_of_four_with_its_seed(promoted, tmp_path):
    outcome = promoted()
    runs = made(outcome)
    further = [run for run in runs if run.fidelity == 1.0]
    assert len(further) >= 20 // (MAX_PAUSED + 1)
    for run in further:
        pause = dataclasses.replace(run, fidelity=QUICK)
        assert runs.index(pause) < runs.index(run)
    assert outcome.repeated == 0
    quick = Counter(run.seed for run in runs if run.fidelity == QUICK)
    assert set(quick.values()) == {1}, "each pause has a seed of its own"
    study = optuna.load_study(study_name="shc", storage=open_storage(None, tmp_path / "study"))
    assert not any("refused" in trial.user_attrs for trial in study.get_trials())


def test_promotion_is_the_same_after_resume(promoted, told):
    whole = promoted(storage=optuna.storages.InMemoryStorage())
    for trials in (5, 6, 13, 20):
        outcome = promoted(trials)
    assert told(outcome) == told(whole)
    assert (outcome.found, outcome.mean) == (whole.found, whole.mean)


def test_promotion_with_parallel_trials(promoted, planted):
    measure = planted(0, 8, 4)
    outcome = promoted(
        parallel_trials=2, start_trial=lambda run, check: lambda: measure(run, check)
    )
    assert Counter(run.fidelity for run in made(outcome))[1.0] >= 3
    assert outcome.repeated == 0


def finding(number, layout, quality, fidelity, seed):
    score = Score(quality, quality, quality, 1 - quality, "validation", seed, 1.0)
    return TrialResult(number, layout, "search", "complete", score, "", quality, seed, fidelity)


def test_search_result_is_the_best_at_the_full_budget():
    """Where pauses say the contrary of ends, ends are believed."""
    layouts = all_layouts(8, 4)[:40]
    worth = np.linspace(0.1, 0.9, 40)
    pauses = [finding(i, one, 0.9 - worth[i], QUICK, i) for i, one in enumerate(layouts)]
    ends = [finding(40 + i, one, worth[i], 1.0, i) for i, one in enumerate(layouts) if i % 2]
    outcome = search_result(tuple(pauses + ends), False)
    assert layouts.index(outcome.found) >= 37
    assert outcome.mean == pytest.approx(worth[-1], abs=0.05)
    assert layouts.index(search_result(tuple(pauses), False).found) <= 2


def past(seen, running=()):
    begun = frozenset([*(one.run for one in seen), *running])
    layouts = frozenset(run.layout for run in begun)
    return SearchHistory(
        8, 4, tuple(seen), tuple(running), len(begun), layouts, started=begun, promote=True
    )


def test_promotion_skips_runs_that_are_surely_behind():
    """All leaders had their full runs but one, and the others are far behind: it is the one."""
    layouts = all_layouts(8, 4)[:24]
    seen = [Observation(TrialRun(one, i, QUICK), 0.1 + 0.001 * i) for i, one in enumerate(layouts)]
    for index in (3, 9, 15):
        seen[index] = Observation(TrialRun(layouts[index], index, QUICK), 0.8 + 0.001 * index)
    seen += [Observation(TrialRun(layouts[i], i, 1.0), 0.9) for i in (3, 9)]
    history = past(seen)
    assert history.promotion_due
    proposed = propose_by_gp(history, np.random.default_rng(0))
    assert proposed == TrialRun(layouts[15], 15, 1.0)
    under_way = past(seen, [proposed])
    assert propose_by_gp(under_way, np.random.default_rng(0)) != proposed


def test_promotion_that_failed_is_not_repeated(promoted, landscape):
    table = landscape(0, 8, 4)

    def measure(run, check):
        if run.fidelity == 1.0:
            raise TrialError("no memory left at the full budget")
        quality = float(table[layout_rank(run.layout)])
        return Score(quality, quality, quality, 1 - quality, "validation", run.seed, 0.5)

    outcome = promoted(measure=measure)
    failed = [one for one in outcome.trial_results if one.state == "failed"]
    assert len(failed) >= 3 and outcome.repeated == 0
    assert {one.fidelity for one in failed} == {1.0}
    assert outcome.found is not None


def test_enqueued_trial_needs_one_of_the_two_fidelities(promoted, tmp_path):
    promoted(5)
    study = optuna.load_study(study_name="shc", storage=open_storage(None, tmp_path / "study"))
    layout = Layout(8, (0, 2, 4, 6))
    for fidelity in (1.0, 0.5):
        study.enqueue_trial(flag_params(layout) | {"seed": 77, "fidelity": fidelity})
    outcome = promoted(6)
    assert made(outcome)[-1] == TrialRun(layout, 77, 1.0)
    promoted(7)
    refused = [trial.user_attrs.get("refused", "") for trial in study.get_trials()]
    assert "a run of this study has fidelity 0.25 or 1.0, not 0.5" in refused


@pytest.mark.parametrize(
    "changes", [{"sampler": "tpe"}, {"pruner": "median"}, {"fidelity": 1.0}], ids=str
)
def test_promote_is_refused_with_other_settings(go, changes):
    with pytest.raises(OptionError, match="promote needs"):
        go(**{"fidelity": QUICK, "promote": True, **changes})
