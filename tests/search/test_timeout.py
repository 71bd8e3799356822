import threading
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from autoprune.layouts.layout import Layout
from autoprune.search import loop
from autoprune.search.loop import Deadline
from autoprune.search.trial import (
    TrialRun,
    close_trial,
    distributions,
    flag_params,
    score_to_attributes,
    trial_attributes,
)
from autoprune.storage.heartbeat import BEAT, CLAIM, HOLDER, WorkerId
from autoprune.storage.storage import open_storage
from autoprune.training.metrics import Score


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose one entry is the time."""
    now = [100.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    return now


def rounds(clock, seconds, lasts):
    """Return how many rounds are made when they last so long."""
    watch, made = Deadline(seconds), 0
    for last in lasts:
        if watch.is_reached():
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
def test_deadline_allows_no_batch_that_would_end_late(clock, seconds, lasts, made):
    assert rounds(clock, seconds, lasts) == made


def test_timeout_chooses_among_finished_trials(clock, go, planted):
    measure = planted(0, 8, 4)

    def slow(run, check):
        clock[0] += 10
        return measure(run, check)

    outcome = go(slow, trials=9, timeout=45)
    assert (outcome.trials, outcome.interrupted) == (4, False)
    assert outcome.found in {finding.layout for finding in outcome.trial_results}
    assert go(slow, trials=9, timeout=15).trials == 5  # the same again goes on
    assert go(slow, trials=9).trial_results[:5] == go(trials=9).trial_results[:5]


def test_timeout_waits_for_trials_of_other_processes(clock, go, planted, tmp_path):
    measure, run = planted(0, 8, 4), TrialRun(Layout.parse("8:1,3,5,7"), 4711)
    others = open_storage(None, tmp_path / "study")
    ends = list[threading.Timer]()

    def slow(ours, check):
        clock[0] += 10
        if not ends:
            elsewhere = replace(WorkerId.of_this_process(), host="elsewhere")
            named = {HOLDER: elsewhere.to_dict(), CLAIM: "theirs", BEAT: 0}
            trial = others.create_new_trial(
                optuna.load_study(study_name="shc", storage=others)._study_id,
                create_trial(
                    state=TrialState.RUNNING,
                    params=flag_params(run.layout),
                    distributions=distributions(8),
                    user_attrs=trial_attributes(run, "search"),
                    system_attrs=named,
                ),
            )
            score = Score(0.5, 0.5, 0.5, 1.0, "validation", run.seed, 1.0)
            told = (others, trial, score_to_attributes(score, "accuracy"), TrialState.COMPLETE, 0.5)
            ends.append(threading.Timer(1.0, close_trial, told))
            ends[0].start()
        return measure(ours, check)

    outcome = go(slow, trials=9, timeout=25)
    ends[0].join()
    assert run.layout in {finding.layout for finding in outcome.trial_results}
    assert outcome.trials == 3
