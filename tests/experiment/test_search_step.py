"""Search step: each trial becomes one record, with what is needed to repeat it."""

import dataclasses
from types import SimpleNamespace

import pytest

from autoprune.evaluation.records import read_records
from autoprune.experiment.search_step import append_new_records, trial_record
from autoprune.layouts.layout import Layout
from autoprune.search.result import TrialResult
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

SCORE = Score(0.5, 0.5, 0.4, 1.2, "validation", 3, 7.0, note="out of memory: went on with 2 rows")
DONE = TrialResult(1, Layout.parse("4:0-1"), "top", "complete", SCORE, "", 0.5, 3, 0.3)
FAILED = TrialResult(
    2, Layout.parse("4:2-3"), "search", "failed", None, "the loss is nan", 0.5, 3, 0.3
)

BUDGET = Budget(steps=10)


@pytest.fixture
def recorded(conditions):
    experiment = SimpleNamespace(
        conditions=conditions, model="demo@abc", trial_budget=lambda fidelity: BUDGET
    )
    return [trial_record(trial, experiment, 7000) for trial in (DONE, FAILED)]


def test_trial_record_holds_what_happened(recorded, conditions):
    done, failed = recorded
    assert (done.phase, done.origin, done.layout, done.seed) == ("search", "top", DONE.layout, 3)
    assert done.scores == (SCORE,) and done.notes == (SCORE.note,)
    assert (done.budget, done.metric) == (BUDGET, conditions.metric)
    assert (failed.state, failed.reason, failed.scores) == ("failed", "the loss is nan", ())


def test_append_new_records_writes_each_trial_once(recorded, tmp_path):
    path = tmp_path / "records.jsonl"
    append_new_records(path, recorded[:1])
    append_new_records(path, recorded)
    assert read_records(path) == recorded
    other = dataclasses.replace(recorded[0], seed=4)
    append_new_records(path, [other])
    assert read_records(path) == [*recorded, other]
