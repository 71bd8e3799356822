"""Records come back exactly, and a process killed while writing costs nothing but its line."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprune.choices import METRIC_NAMES
from autoprune.errors import StudyError
from autoprune.evaluation.records import (
    Record,
    append_record,
    count_repeated,
    installed_versions,
    read_records,
    record_from_json,
    record_key,
    record_to_json,
    reuse_shared_runs,
    utc_now,
)
from autoprune.layouts.layout import Layout
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

shares = st.floats(0, 1)
texts = st.text(max_size=20)
prints = st.dictionaries(texts, texts, max_size=3)
layouts = st.integers(1, 30).flatmap(
    lambda depth: st.sets(st.integers(0, depth - 1), min_size=1).map(
        lambda kept: Layout(depth, tuple(sorted(kept)))
    )
)
scores = st.builds(
    Score,
    quality=shares,
    accuracy=shares,
    macro_f1=shares,
    loss=st.floats(0, 1e6),
    split=st.sampled_from(["validation", "test", "test-raw"]),
    seed=st.integers(0, 2**32),
    seconds=st.floats(0, 1e9),
)
budgets = st.builds(
    Budget,
    steps=st.integers(1, 10**6),
    learning_rate=st.floats(1e-9, 0.5),
    method=st.sampled_from(["full", "lora", "head"]),
    patience=st.none() | st.integers(1, 9),
    pause_at=st.none() | st.just(1),
)
records = st.builds(
    Record,
    phase=st.sampled_from(["search", "comparison"]),
    origin=texts,
    layout=layouts,
    start=st.sampled_from(["pretrained", "random"]),
    model=texts,
    task=texts,
    metric=st.sampled_from(METRIC_NAMES),
    budget=budgets,
    seed=st.integers(0, 2**32),
    scores=st.lists(scores, max_size=3).map(tuple),
    parameters=st.integers(0, 10**12),
    fingerprints=prints,
    versions=prints,
    device=texts,
    finished=st.just(utc_now()),
    predictions=st.lists(st.integers(0, 99), max_size=5).map(tuple),
    notes=st.lists(texts, max_size=2).map(tuple),
    state=st.sampled_from(["complete", "pruned", "failed"]),
    reason=texts,
    schema=st.just(1),
)


@given(records)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_record_json_is_exact_and_one_line(record):
    text = record_to_json(record)
    assert record_from_json(text) == record
    assert text.splitlines() == [text]


@given(kept=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_append_record_cut_off_anywhere_loses_only_its_line(kept, tmp_path, trial):
    path = tmp_path / "records.jsonl"
    path.unlink(missing_ok=True)
    first, second, third = (trial("4:0-1", 0.5, seed=seed) for seed in (1, 2, 3))
    append_record(path, first)
    whole = len(path.read_bytes())
    append_record(path, second)
    length = len(path.read_bytes())
    cut = kept.draw(st.integers(whole, length - 1))
    path.write_bytes(path.read_bytes()[:cut])
    survived = [first, second][: 1 + (cut == length - 1)]  # only the line's end was lost
    assert read_records(path) == survived
    append_record(path, third)
    assert read_records(path) == [*survived, third]
    assert path.read_bytes().endswith(b"\n")


def test_read_records_leaves_out_a_cut_off_first_line(tmp_path, trial):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"schema":1,"phase')
    assert read_records(path) == []
    append_record(path, trial("4:0-1", 0.5))
    assert read_records(path) == [trial("4:0-1", 0.5)]


def test_append_record_makes_the_folder_and_keeps_older_lines(tmp_path, trial):
    path = tmp_path / "studies" / "x" / "records.jsonl"
    append_record(path, trial("4:0-1", 0.5))
    before = path.read_bytes()
    append_record(path, trial("4:0,2", 0.6))
    assert path.read_bytes().startswith(before)
    assert [str(r.layout) for r in read_records(path)] == ["4:0-1", "4:0,2"]


def test_read_records_of_no_file_is_empty(tmp_path):
    assert read_records(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "not json",
        lambda text: "[]",
        lambda text: "",
        lambda text: text.replace('"seed":1,', ""),
        lambda text: text.replace('"4:0-1"', '"4:9"'),
        lambda text: text.replace('"search"', '"lunch"'),
        lambda text: text.replace('"seed":1,', '"seed":"1",'),
        lambda text: text.replace('"quality":0.5', '"quality":NaN'),
        lambda text: text.replace('"device"', '"gadget"'),
        lambda text: text.replace('"steps":10', '"steps":0'),
        lambda text: text.replace('"accuracy","budget"', '"profit","budget"'),
    ],
)
def test_read_records_names_a_broken_line(spoil, tmp_path, trial):
    path = tmp_path / "records.jsonl"
    append_record(path, trial("4:0-1", 0.5))
    text = record_to_json(trial("4:0-1", 0.5))
    assert spoil(text) != text
    path.write_text(f"{text}\n{spoil(text)}\n{text}\n")
    with pytest.raises(StudyError, match=r"records\.jsonl line 2") as caught:
        read_records(path)
    assert "\n" not in str(caught.value)


def test_read_records_refuses_another_schema(tmp_path, trial):
    path = tmp_path / "records.jsonl"
    append_record(path, dataclasses.replace(trial("4:0-1", 0.5), schema=2))
    with pytest.raises(StudyError, match="schema 2"):
        read_records(path)


def test_append_record_says_in_one_line_that_a_folder_cannot_be_made(tmp_path, trial):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot write") as caught:
        append_record(tmp_path / "file" / "records.jsonl", trial("4:0-1", 0.5))
    assert "\n" not in str(caught.value)


def test_read_records_refuses_a_folder(tmp_path):
    with pytest.raises(StudyError, match="cannot read"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other@1"},
        {"start": "random"},
        {"layout": Layout(4, (0, 3))},
        {"seed": 2},
        {"budget": Budget(steps=11)},
        {"task": "shc"},
        {"metric": "macro-f1"},
        {"fingerprints": {"train+validation": "other"}},
    ],
)
def test_record_key_differs_with_each_condition(changes, trial):
    record = trial("4:0-1", 0.5)
    other = dataclasses.replace(record, **changes)
    assert record_key(record) != record_key(other)
    assert count_repeated([record, other]) == 0


def test_count_repeated_counts_second_measurements_of_one_phase(trial):
    record = trial("4:0-1", 0.5)
    again = dataclasses.replace(record, origin="random", finished="2026-01-01T00:00:00+00:00")
    compared = dataclasses.replace(record, phase="comparison")
    failed = dataclasses.replace(record, state="failed", scores=())
    assert count_repeated([record, compared, failed]) == 0
    assert count_repeated([record, again, again, compared]) == 2


def test_utc_now_is_in_utc():
    assert utc_now().endswith("+00:00")


COMPLETE = {"phase": "comparison", "state": "complete"}


def test_reuse_shared_runs_copies_the_full_model_and_rivals_once(tmp_path, trial):
    source, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for seed, origin in enumerate(("found", "top", "full", "scratch", "small")):
        append_record(source, trial("12:0-5", 0.5, **COMPLETE, origin=origin, seed=seed))
    append_record(
        source, trial("12:0-11", 0.5, phase="comparison", state="failed", origin="full", seed=9)
    )
    append_record(source, trial("12:0-11", 0.5, phase="search", origin="full", seed=10))
    assert reuse_shared_runs([source], target) == 2
    assert [record.origin for record in read_records(target)] == ["full", "small"]
    assert reuse_shared_runs([source, source], target) == 0
    assert reuse_shared_runs([tmp_path / "none.jsonl"], target) == 0


def test_installed_versions_are_of_all_that_changes_numbers():
    assert {"autoprune", "torch", "transformers", "optuna", "python"} == set(installed_versions())
