"""Entrants: the learning rate that is best on validation, and the keys of their records."""

import dataclasses

import pytest

from autoprune.errors import TrialError
from autoprune.evaluation.entrants import choose_budgets
from autoprune.evaluation.records import read_records, record_key
from autoprune.training.checkpoint import checkpoint_file

RATES = (1e-4, 5e-4, 1e-3)


@pytest.fixture
def variants(entrant):
    """Make variants of an entrant, a validation quality (None: fails) for each of RATES."""

    def make(origin, layout, qualities, calls, **changes):
        each = []
        for rate, quality in zip(RATES, qualities, strict=True):
            fails = (0,) if quality is None else ()
            variant = entrant(origin, layout, (0,), quality or 0.0, calls, fails, **changes)
            budget = dataclasses.replace(variant.budget, learning_rate=rate)
            each.append(dataclasses.replace(variant, budget=budget, begin=forbidden))
        return each

    return make


def forbidden(seed, checkpoint):
    raise AssertionError("tuning never sees the test rows")


def rates(entrants):
    return [entrant.budget.learning_rate for entrant in entrants]


def test_learning_rate_is_the_best_on_validation_for_each_entrant(variants, conditions, tmp_path):
    calls, progress, path = [], [], tmp_path / "r.jsonl"
    each = [
        variants("top", "4:0-1", (0.5, 0.7, 0.6), calls),
        variants("full", "4:0-3", (0.5, 0.6, 0.9), calls),
        variants("middle", "4:0,3", (0.8, 0.8, 0.8), calls),  # equal: the smallest
    ]
    chosen = choose_budgets(each, 0, conditions, path, progress.append)
    assert [entrant.origin for entrant in chosen] == ["top", "full", "middle"]
    assert rates(chosen) == [5e-4, 1e-3, 1e-4]
    assert [(p.done, p.total) for p in progress] == [(n, 9) for n in range(1, 10)]
    records = read_records(path)
    assert {record.phase for record in records} == {"tuning"}
    assert not any(record.predictions for record in records)
    assert {score.split for record in records for score in record.scores} == {"validation"}


def test_learning_rate_runs_on_file_or_alike_are_not_run_again(variants, conditions, tmp_path):
    calls, path = [], tmp_path / "r.jsonl"
    each = [
        variants("found", "4:0-1", (0.5, 0.7, 0.6), calls),
        variants("top", "4:0-1", (0.5, 0.7, 0.6), calls),
    ]
    assert rates(choose_budgets(each, 0, conditions, path, lambda _: None)) == [5e-4, 5e-4]
    assert len(calls) == len(read_records(path)) == 3
    assert rates(choose_budgets(each, 0, conditions, path, lambda _: None)) == [5e-4, 5e-4]
    assert len(calls) == 3
    choose_budgets(each, 1, conditions, path, lambda _: None)
    assert len(calls) == 6


def test_learning_rate_whose_run_fails_is_not_taken(variants, conditions, tmp_path):
    calls, path = [], tmp_path / "r.jsonl"
    each = [variants("top", "4:0-1", (0.3, 0.4, None), calls)]
    assert rates(choose_budgets(each, 0, conditions, path, lambda _: None)) == [5e-4]
    assert [record.state for record in read_records(path)] == ["complete", "complete", "failed"]
    all_fail = [variants("top", "4:2-3", (None, None, None), calls)]
    chosen = choose_budgets(all_fail, 0, conditions, path, lambda _: None)
    assert rates(chosen) == [1e-4]
    with pytest.raises(TrialError):
        chosen[0].validate(0, None)()


def test_key_is_that_of_the_record_and_names_the_checkpoint_as_ever(entrant, conditions, tmp_path):
    """An unfinished run of an older version is found by the same file name."""
    only, path = entrant("top", "4:0-1", (0,), 0.5), tmp_path / "r.jsonl"
    key = only.key(3, conditions)
    choose_budgets([[only]], 3, conditions, path, lambda _: None)
    assert [record_key(record) for record in read_records(path)] == [key]
    assert checkpoint_file(tmp_path, tuple(key)).path.stem == "997fd1360b9c0cec7d76"
