"""Checkpoints: a run that died goes on, and nobody can tell from its score."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoprune import interrupts
from autoprune.choices import METHOD_NAMES
from autoprune.errors import OptionError
from autoprune.layouts.layout import Layout
from autoprune.training import checkpoint
from autoprune.training import evaluator as benches
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file, remove_old_checkpoints
from autoprune.training.evaluator import never_stop
from autoprune.training.loop import MicroBatcher, TrainingClock, predict_logits

HALF = Layout(4, (0, 2))
STEPS = 12


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def place(tmp_path):
    """Return a place that is written to after each step."""
    return CheckpointFile(tmp_path / "kept" / "run.safetensors", seconds=0, share=1e9)


@pytest.fixture
def kill(monkeypatch):
    """Return a function that runs something and ends it behind a step, what is due written."""
    plain = benches.train

    def kill(step, job, *arguments):
        def train(course, *rest):
            for done in plain(course, *rest):
                yield done
                if done == step:
                    raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(benches, "train", train)
            job(*arguments)

    return kill


@pytest.fixture
def steps(monkeypatch):
    """Return the list of the steps that are made from here on."""
    plain, made = benches.train, []

    def train(course, *rest):
        for done in plain(course, *rest):
            made.append(done)
            yield done

    monkeypatch.setattr(benches, "train", train)
    return made


def alike(one, other, rows):
    """Tell whether two trained candidates have the same score and logits, bit for bit."""
    logits = [
        predict_logits(trained.model, rows, torch.device("cpu"), MicroBatcher(8), TrainingClock())
        for trained in (one, other)
    ]
    scores = [replace(trained.score, seconds=0) for trained in (one, other)]
    return scores[0] == scores[1] and (logits[0] == logits[1]).all() and one.steps == other.steps


# Behind the first step, a check, between checks, at the end (where patience leaves at once).
@pytest.mark.parametrize(("patience", "moments"), [(None, (1, 4, 7, STEPS)), (1, (1, 4, 7))])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(
    bench, place, kill, steps, method, patience, moments
):
    bench = replace(bench, budget=replace(bench.budget, method=method, patience=patience))
    whole = bench.train(HALF, 3)
    left = [step for step in steps if step > moments[-1]]
    for step in moments:
        kill(step, bench.train, HALF, 3, never_stop, place)
        torch.manual_seed(step)
    del steps[:]
    assert alike(bench.train(HALF, 3, never_stop, place), whole, bench.validation)
    assert steps == left


def test_the_checks_are_heard_again_and_only_the_steps_left_are_made(bench, place, kill, steps):
    heard, again = [], []
    whole = bench.measure(HALF, 3, lambda *told: heard.append(told))
    kill(10, bench.measure, HALF, 3, lambda *_: None, place)
    del steps[:]
    score = bench.measure(HALF, 3, lambda *told: again.append(told), place)
    assert (steps, again) == ([11, 12], heard)
    assert replace(score, seconds=0) == replace(whole, seconds=0)
    assert score.seconds > 0


def test_a_writer_killed_half_way_leaves_the_state_before(bench, place, kill, monkeypatch):
    whole = bench.train(HALF, 3)
    kill(6, bench.train, HALF, 3, never_stop, place)
    kept = place.path.read_bytes()

    def half(tensors, path, metadata):
        Path(path).write_bytes(kept[: len(kept) // 2])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save_file", half)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # the draft stays, as after kill -9
        bench.train(HALF, 3, never_stop, place)
    assert place.path.read_bytes() == kept
    assert len(list(place.path.parent.iterdir())) == 2
    assert alike(bench.train(HALF, 3, never_stop, place), whole, bench.validation)
    place.take_away()
    assert list(place.path.parent.iterdir()) == []


def test_the_checkpoint_of_another_run_is_passed_over(bench, place, kill, steps):
    def other(seed):
        model = bench.load(seed)
        with torch.no_grad():
            model.bert.encoder.layer[2].output.dense.weight[0, 0] += 0.1
        return model

    rows = replace(bench.rows, labels=bench.rows.labels[::-1].copy())
    others = [
        (bench, Layout(4, (0, 1)), 3),
        (bench, HALF, 4),
        (replace(bench, budget=replace(bench.budget, learning_rate=1e-3)), HALF, 3),
        (replace(bench, rows=rows), HALF, 3),
        (replace(bench, load=other), HALF, 3),
    ]
    for mine, layout, seed in others:
        whole = mine.train(layout, seed)
        kill(6, bench.train, HALF, 3, never_stop, place)
        del steps[:]
        assert alike(mine.train(layout, seed, never_stop, place), whole, bench.validation)
        assert steps == list(range(1, STEPS + 1))
        place.take_away()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_checkpoint_is_passed_over(bench, place, content, steps):
    place.path.parent.mkdir()
    place.path.write_bytes(content)
    bench.measure(HALF, 3, never_stop, place)
    assert steps == list(range(1, STEPS + 1))


def test_a_place_that_cannot_be_written_to_is_told_and_the_run_goes_on(bench, tmp_path):
    (tmp_path / "file").write_text("")
    score = bench.measure(
        HALF, 3, never_stop, CheckpointFile(tmp_path / "file" / "run", seconds=0, share=1)
    )
    assert score.note.startswith("no checkpoint could be written: ")
    assert replace(score, note="", seconds=0) == replace(bench.measure(HALF, 3), seconds=0)


def test_a_run_asked_to_leave_stops_behind_the_step_at_hand_and_goes_on_later(bench, place, steps):
    rare = replace(place, seconds=1000)
    whole = bench.train(HALF, 3)
    del steps[:]
    interrupts.request_stop()
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.train(HALF, 3, never_stop, rare)
    finally:
        interrupts.clear_stop()
    assert steps == [1]
    assert alike(bench.train(HALF, 3, never_stop, rare), whole, bench.validation)
    assert steps == list(range(1, STEPS + 1))


def test_a_check_that_asks_to_leave_is_kept(bench, place, steps):
    rare, heard = replace(place, seconds=1000), []

    def check(quality, step):
        heard.append(step)
        if len(heard) == 2:
            raise KeyboardInterrupt

    whole = bench.train(HALF, 3)
    with pytest.raises(KeyboardInterrupt):
        bench.train(HALF, 3, check, rare)
    del steps[:]
    assert alike(bench.train(HALF, 3, check, rare), whole, bench.validation)
    assert (steps, heard) == ([9, 10, 11, 12], [4, 8, 4, 8, 12])


def test_rows_halved_for_memory_stay_halved(bench, place, kill):
    plain = bench.load

    def scarce(seed):
        model = plain(seed)

        def refuse(module, arguments, named):
            if len(named["input_ids"]) > 3:
                raise torch.OutOfMemoryError("planted")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model

    bench = replace(bench, load=scarce)
    whole = bench.train(HALF, 0)
    kill(6, bench.train, HALF, 0, never_stop, place)
    again = bench.train(HALF, 0, never_stop, place)
    assert again.score.note == whole.score.note
    assert alike(again, whole, bench.validation)


def test_short_runs_write_nothing_and_slow_writing_is_rare(bench, place, monkeypatch):
    bench.measure(HALF, 3, never_stop, CheckpointFile(place.path))
    assert not place.path.parent.exists()

    written, now = [], [0.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])

    def slow(*_):
        written.append(now[0])
        now[0] += 3.0

    monkeypatch.setattr(checkpoint, "_write", slow)
    course = bench._course(bench._learning(HALF, 0), 0.0)
    keeper = checkpoint.TrainingCheckpoint(
        CheckpointFile(place.path), course, torch.device("cpu"), "run"
    )
    while now[0] < 500:
        now[0] += 1.0
        keeper.keep()
    assert written == [30.0, 183.0, 336.0, 489.0]


def test_places_are_told_apart_and_swept(tmp_path):
    one, other = checkpoint_file(tmp_path, (HALF, 3)), checkpoint_file(tmp_path, (HALF, 4))
    assert one != other and one == checkpoint_file(tmp_path, (HALF, 3))
    one.path.parent.mkdir()
    one.path.write_text("")
    remove_old_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_old_checkpoints(tmp_path)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_run_goes_on_from_its_pause_as_one_that_never_paused(bench, place, steps, method):
    budget = replace(bench.budget, method=method)
    whole = replace(bench, budget=budget).train(HALF, 3)
    paused = replace(bench, budget=replace(budget, pause_at=5))
    heard = []
    first = paused.measure(HALF, 3, lambda *told: heard.append(told[1]), place)
    assert heard == [4, 5], "the checks up to the pause, and one there"
    alone = paused.measure(HALF, 3)
    assert replace(first, seconds=0) == replace(alone, seconds=0)
    del steps[:]
    again = paused.measure(HALF, 3, never_stop, place)
    assert replace(again, seconds=0) == replace(first, seconds=0)
    assert steps == [], "all of it is on file"
    assert alike(
        replace(bench, budget=budget).train(HALF, 3, never_stop, place), whole, bench.validation
    )
    assert steps == list(range(6, STEPS + 1))


def test_what_goes_on_counts_its_own_seconds(bench, place, monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(benches.time, "perf_counter", lambda: next(clock))
    until = replace(bench.budget, pause_at=11)
    first = replace(bench, budget=until).measure(HALF, 3, never_stop, place)
    rest = bench.measure(HALF, 3, never_stop, place)
    assert rest.seconds < first.seconds / 2, "one step of twelve, and no time of the others"


def test_a_pause_that_cannot_be_written_is_noted_and_costs_only_time(bench, tmp_path):
    (tmp_path / "kept").write_text("no folder")
    blocked = CheckpointFile(tmp_path / "kept" / "run.safetensors")
    score = replace(bench, budget=replace(bench.budget, pause_at=5)).measure(
        HALF, 3, never_stop, blocked
    )
    assert "no checkpoint could be written" in score.note
    whole = bench.measure(HALF, 3)
    assert replace(bench.measure(HALF, 3, never_stop, blocked), seconds=0, note="") == replace(
        whole, seconds=0
    )


@pytest.mark.parametrize("pause_at", [0, 13])
def test_a_pause_outside_of_the_steps_is_refused(bench, pause_at):
    with pytest.raises(OptionError, match="within the 12 steps"):
        replace(bench.budget, pause_at=pause_at)
