"""Search step: each trial becomes one record; the checkpoints of paused runs are kept."""

import dataclasses
from types import SimpleNamespace

import pytest

from autoprune.evaluation.records import read_records
from autoprune.experiment.search_step import (
    MAX_PAUSED_CHECKPOINTS,
    PausedRuns,
    append_new_records,
    describe_interruption,
    reporting_result,
    train_and_collect,
    trial_record,
)
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.search.result import TrialResult
from autoprune.search.trial import TrialRun
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

SCORE = Score(0.5, 0.5, 0.4, 1.2, "validation", 3, 7.0, note="out of memory: went on with 2 rows")
DONE = TrialResult(1, Layout.parse("4:0-1"), "top", "complete", SCORE, "", 0.5, 3, 0.3)
FAILED = TrialResult(
    2, Layout.parse("4:2-3"), "search", "failed", None, "the loss is nan", 0.5, 3, 0.3
)

BUDGET = Budget(steps=10)
BEST = "best so far ●●○○ 4:0-1 (50.0 %)"


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


LAYOUTS = all_layouts(8, 4)[: MAX_PAUSED_CHECKPOINTS + 3]


@pytest.fixture
def finish(tmp_path):
    """Return a function that ends a paused trial, or a full one, by its seed.

    It returns the seeds whose checkpoints are kept.
    """

    def start(promotes):
        paused = PausedRuns(tmp_path, promotes)
        paths = [paused.file(TrialRun(layout, i, 0.3)).path for i, layout in enumerate(LAYOUTS)]

        def finish(seed, quality, fidelity=0.3):
            paths[seed].parent.mkdir(exist_ok=True)
            paths[seed].touch()
            score = None
            if quality is not None:
                score = Score(quality, quality, quality, 1.0, "validation", seed, 1.0)
            state = "failed" if score is None else "complete"
            layout = LAYOUTS[seed]
            paused.finished(
                TrialResult(seed, layout, "search", state, score, "", quality, seed, fidelity)
            )
            return {seed for seed, path in enumerate(paths) if path.exists()}

        return finish

    return start


def test_checkpoints_of_the_best_paused_runs_are_kept(finish):
    finish = finish(True)
    for seed in range(MAX_PAUSED_CHECKPOINTS):
        kept = finish(seed, 0.5 + 0.01 * seed)
    assert kept == set(range(MAX_PAUSED_CHECKPOINTS))
    best = set(range(1, MAX_PAUSED_CHECKPOINTS + 1))
    assert finish(MAX_PAUSED_CHECKPOINTS, 0.9) == best  # in place of the worst
    assert finish(MAX_PAUSED_CHECKPOINTS + 1, 0.1) == best  # it is worse than all
    assert finish(5, 0.7, fidelity=1.0) == best - {5}
    assert finish(MAX_PAUSED_CHECKPOINTS + 2, None) == best - {5}  # it failed


def test_checkpoints_are_removed_without_promotion(finish):
    assert finish(False)(0, 0.9) == set()


def test_checkpoint_of_a_run_is_the_same_before_and_after_its_pause(tmp_path):
    paused = PausedRuns(tmp_path, True)
    pause, whole, other = (
        paused.file(TrialRun(LAYOUTS[0], *rest)) for rest in ((1, 0.3), (1,), (2,))
    )
    assert pause == whole != other


@pytest.mark.parametrize("cheap", [True, False])
def test_evaluations_are_reported_with_the_score(cheap):
    """Without a pruner they are collected where a trial runs; the last one is always there."""

    def evaluate(layout, seed, callback, checkpoint):
        for step in (5, 10) if callback else ():
            callback(step / 20, step)
        return SCORE

    evaluator = SimpleNamespace(evaluations_are_cheap=cheap, evaluate=evaluate, budget=BUDGET)
    reported = []
    result = reporting_result(
        lambda: train_and_collect(evaluator, TrialRun(LAYOUTS[0], 3)),
        lambda quality, step: reported.append((quality, step)),
    )
    assert (result(), reported) == (SCORE, [(0.25, 5), (0.5, 10)] if cheap else [(0.5, 10)])


@pytest.mark.parametrize(
    ("trials", "found", "words"),
    [
        (0, None, "stopped: no trial was finished; the same"),
        (
            1,
            "4:0-1",
            "stopped: 1 finished trial is kept, best so far ●●○○ 4:0-1 (50.0 %); the same",
        ),
        (
            3,
            "4:0-1",
            "stopped: 3 finished trials are kept, best so far ●●○○ 4:0-1 (50.0 %); the same",
        ),
        (2, None, "stopped: 2 finished trials are kept; the same"),
    ],
)
def test_describe_interruption_counts_the_trials(trials, found, words):
    layout = Layout.parse(found) if found else None
    result = SimpleNamespace(trials=trials, found=layout, mean=0.5 if found else None)
    assert describe_interruption(result, "accuracy") == f"{words} command again goes on"
