"""Checkpoints: a run that was killed resumes, and its score is the same bit for bit."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoprune import processes
from autoprune.choices import METHOD_NAMES
from autoprune.layouts.layout import Layout
from autoprune.training import checkpoint
from autoprune.training import evaluator as evaluator_module
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import (
    CheckpointFile,
    TrainingCheckpoint,
    checkpoint_file,
    remove_old_checkpoints,
)
from autoprune.training.loop import MicroBatcher, predict_logits

HALF = Layout(4, (0, 2))
STEPS = 12


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def file(tmp_path):
    """Return a checkpoint file that is written after each step."""
    return CheckpointFile(tmp_path / "kept" / "run.safetensors", interval=0, max_share=1e9)


@pytest.fixture
def kill(monkeypatch):
    """Return a function that runs a job and kills it after a step, when its checkpoint is saved."""
    plain = evaluator_module.train

    def kill(step, job, *arguments):
        def train(*args):
            for done in plain(*args):
                yield done
                if done == step:
                    raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(evaluator_module, "train", train)
            job(*arguments)

    return kill


@pytest.fixture
def steps(monkeypatch):
    """Return the list of the steps that are done from here on."""
    plain, steps = evaluator_module.train, []

    def train(*args):
        for step in plain(*args):
            steps.append(step)
            yield step

    monkeypatch.setattr(evaluator_module, "train", train)
    return steps


def equal(first, second, rows):
    """Tell whether two trained models have the same score and logits, bit for bit."""
    logits = [
        predict_logits(trained.model, rows, torch.device("cpu"), MicroBatcher(8))
        for trained in (first, second)
    ]
    scores = [replace(trained.score, seconds=0) for trained in (first, second)]
    return scores[0] == scores[1] and (logits[0] == logits[1]).all() and first.steps == second.steps


# After the first step, an evaluation, between two, at the end (early stopping does not reach it).
@pytest.mark.parametrize(("patience", "moments"), [(None, (1, 4, 7, STEPS)), (1, (1, 4, 7))])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_run_that_is_killed_repeatedly_ends_as_one_that_is_not(
    evaluator, file, kill, steps, method, patience, moments
):
    evaluator = replace(
        evaluator, budget=replace(evaluator.budget, method=method, patience=patience)
    )
    whole = evaluator.train(HALF, 3)
    left = [step for step in steps if step > moments[-1]]
    for step in moments:
        kill(step, evaluator.train, HALF, 3, None, file)
        torch.manual_seed(step)
    del steps[:]
    assert equal(evaluator.train(HALF, 3, None, file), whole, evaluator.validation)
    assert steps == left


def test_run_that_is_interrupted_where_it_stops_early_trains_no_further(
    evaluator, file, steps, monkeypatch
):
    evaluator = replace(evaluator, budget=replace(evaluator.budget, patience=1))
    whole = evaluator.train(HALF, 3)
    last = steps[-1]
    assert last < STEPS
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(evaluator_module, "stop_requested", lambda: steps[-1] == last)
        del steps[:]
        evaluator.train(HALF, 3, None, file)
    del steps[:]
    assert equal(evaluator.train(HALF, 3, None, file), whole, evaluator.validation)
    assert steps == []


def test_resumed_run_repeats_its_evaluations_and_no_steps(evaluator, file, kill, steps):
    seen, again = [], []
    whole = evaluator.evaluate(HALF, 3, lambda *event: seen.append(event))
    kill(10, evaluator.evaluate, HALF, 3, lambda *_: None, file)
    del steps[:]
    score = evaluator.evaluate(HALF, 3, lambda *event: again.append(event), file)
    assert (steps, again) == ([11, 12], seen)
    assert replace(score, seconds=0) == replace(whole, seconds=0)
    assert score.seconds > 0


def test_process_killed_while_it_saves_leaves_the_earlier_checkpoint(
    evaluator, file, kill, monkeypatch
):
    whole = evaluator.train(HALF, 3)
    kill(6, evaluator.train, HALF, 3, None, file)
    kept = file.path.read_bytes()

    def half(tensors, path, metadata):
        Path(path).write_bytes(kept[: len(kept) // 2])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save_file", half)
        patch.setattr(
            Path, "unlink", lambda *_, **__: None
        )  # the temporary file stays, as after kill -9
        evaluator.train(HALF, 3, None, file)
    assert file.path.read_bytes() == kept
    assert len(list(file.path.parent.iterdir())) == 2
    assert equal(evaluator.train(HALF, 3, None, file), whole, evaluator.validation)
    file.remove()
    assert list(file.path.parent.iterdir()) == []


def test_checkpoint_of_another_run_is_ignored(evaluator, file, kill, steps):
    def other(seed):
        model = evaluator.load(seed)
        with torch.no_grad():
            model.bert.encoder.layer[2].output.dense.weight[0, 0] += 0.1
        return model

    rows = replace(evaluator.rows, labels=evaluator.rows.labels[::-1].copy())
    others = [
        (evaluator, Layout(4, (0, 1)), 3),
        (evaluator, HALF, 4),
        (replace(evaluator, budget=replace(evaluator.budget, learning_rate=1e-3)), HALF, 3),
        (replace(evaluator, rows=rows), HALF, 3),
        (replace(evaluator, load=other), HALF, 3),
    ]
    for other_evaluator, layout, seed in others:
        whole = other_evaluator.train(layout, seed)
        kill(6, evaluator.train, HALF, 3, None, file)
        del steps[:]
        assert equal(other_evaluator.train(layout, seed, None, file), whole, evaluator.validation)
        assert steps == list(range(1, STEPS + 1))
        file.remove()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x02\0\0\0\0\0\0\0{}"])
def test_file_that_is_no_checkpoint_is_ignored(evaluator, file, content, steps):
    file.path.parent.mkdir()
    file.path.write_bytes(content)
    evaluator.evaluate(HALF, 3, None, file)
    assert steps == list(range(1, STEPS + 1))


def test_checkpoint_that_cannot_be_written_is_noted_and_the_run_goes_on(evaluator, tmp_path):
    (tmp_path / "file").write_text("")
    score = evaluator.evaluate(
        HALF, 3, None, CheckpointFile(tmp_path / "file" / "run", interval=0, max_share=1)
    )
    assert score.note.startswith("no checkpoint could be written: ")
    assert replace(score, note="", seconds=0) == replace(evaluator.evaluate(HALF, 3), seconds=0)


def test_requested_stop_saves_after_the_current_step_and_the_run_resumes(evaluator, file, steps):
    rare = replace(file, interval=1000)
    whole = evaluator.train(HALF, 3)
    del steps[:]
    processes.request_stop()
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluator.train(HALF, 3, None, rare)
    finally:
        processes.clear_stop()
    assert steps == [1]
    assert equal(evaluator.train(HALF, 3, None, rare), whole, evaluator.validation)
    assert steps == list(range(1, STEPS + 1))


def test_interrupt_in_a_callback_saves_the_evaluation(evaluator, file, steps):
    rare, seen = replace(file, interval=1000), []

    def callback(quality, step):
        seen.append(step)
        if len(seen) == 2:
            raise KeyboardInterrupt

    whole = evaluator.train(HALF, 3)
    with pytest.raises(KeyboardInterrupt):
        evaluator.train(HALF, 3, callback, rare)
    del steps[:]
    assert equal(evaluator.train(HALF, 3, callback, rare), whole, evaluator.validation)
    assert (steps, seen) == ([9, 10, 11, 12], [4, 8, 4, 8, 12])


def test_micro_batch_halved_for_memory_stays_halved(evaluator, file, kill):
    def with_little_memory(seed):
        model = plain.load(seed)

        def refuse(module, arguments, named):
            if len(named["input_ids"]) > 3:
                raise torch.OutOfMemoryError("planted")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model

    plain, evaluator = evaluator, replace(evaluator, load=with_little_memory)
    whole = evaluator.train(HALF, 0)
    kill(6, evaluator.train, HALF, 0, None, file)
    again = evaluator.train(HALF, 0, None, file)
    assert again.score.note == whole.score.note
    assert equal(again, whole, evaluator.validation)


def test_checkpoint_interval_is_long_for_short_runs_and_for_slow_writing(
    evaluator, file, monkeypatch
):
    evaluator.evaluate(HALF, 3, None, CheckpointFile(file.path))
    assert not file.path.parent.exists()

    written, now = [], [0.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])

    def slow(*_):
        written.append(now[0])
        now[0] += 3.0

    monkeypatch.setattr(checkpoint, "_write", slow)
    state = evaluator._start(HALF, 0)
    saver = TrainingCheckpoint(CheckpointFile(file.path), state, torch.device("cpu"), "run")
    while now[0] < 500:
        now[0] += 1.0
        saver.save_if_due()
    assert written == [30.0, 183.0, 336.0, 489.0]


def test_checkpoint_files_differ_by_run_and_are_removed_together(tmp_path):
    file, other = checkpoint_file(tmp_path, (HALF, 3)), checkpoint_file(tmp_path, (HALF, 4))
    assert file != other and file == checkpoint_file(tmp_path, (HALF, 3))
    file.path.parent.mkdir()
    file.path.write_text("")
    remove_old_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_old_checkpoints(tmp_path)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_run_resumes_from_its_pause_as_one_that_never_paused(evaluator, file, steps, method):
    budget = replace(evaluator.budget, method=method)
    whole = replace(evaluator, budget=budget).train(HALF, 3)
    paused = replace(evaluator, budget=replace(budget, pause_at=5))
    seen = []
    first = paused.evaluate(HALF, 3, lambda _, step: seen.append(step), file)
    assert seen == [4, 5], "the evaluations up to the pause, and one there"
    alone = paused.evaluate(HALF, 3)
    assert replace(first, seconds=0) == replace(alone, seconds=0)
    del steps[:]
    again = paused.evaluate(HALF, 3, None, file)
    assert replace(again, seconds=0) == replace(first, seconds=0)
    assert steps == [], "all of it is stored"
    assert equal(
        replace(evaluator, budget=budget).train(HALF, 3, None, file), whole, evaluator.validation
    )
    assert steps == list(range(6, STEPS + 1))


def test_run_that_resumes_from_a_pause_counts_its_own_seconds(evaluator, file, monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(evaluator_module.time, "perf_counter", lambda: next(clock))
    paused = replace(evaluator.budget, pause_at=11)
    first = replace(evaluator, budget=paused).evaluate(HALF, 3, None, file)
    rest = evaluator.evaluate(HALF, 3, None, file)
    assert rest.seconds < first.seconds / 2, "one step of twelve, and no time of the others"


def test_pause_that_cannot_be_saved_is_noted_and_costs_only_time(evaluator, tmp_path):
    (tmp_path / "kept").write_text("no folder")
    blocked = CheckpointFile(tmp_path / "kept" / "run.safetensors")
    score = replace(evaluator, budget=replace(evaluator.budget, pause_at=5)).evaluate(
        HALF, 3, None, blocked
    )
    assert "no checkpoint could be written" in score.note
    whole = evaluator.evaluate(HALF, 3)
    assert replace(evaluator.evaluate(HALF, 3, None, blocked), seconds=0, note="") == replace(
        whole, seconds=0
    )


def test_checkpoint_file_of_a_budget_has_the_name_of_the_first_version(tmp_path):
    text = "Budget(steps=7, batch=32, tokens=128, learning_rate=5e-05, checks=3, method='full', "
    text += "patience=None, parts=1, until=3)"
    name = hashlib.sha256(text.encode()).hexdigest()[:20]
    file = checkpoint_file(tmp_path, Budget(steps=7, pause_at=3))
    assert file.path == tmp_path / ".checkpoints" / f"{name}.safetensors"
