"""Pre-training steps, stacking, and checkpoints from which a run is resumed bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from autoprune.errors import OptionError, TrialError
from autoprune.pretraining.config import PretrainingSchedule
from autoprune.pretraining.training import (
    PretrainingState,
    perplexity,
    pretraining_optimizer,
    stack_layers,
    train_masked,
)
from autoprune.pretraining.workspace import (
    MAX_CHECKPOINTS,
    check_settings,
    restore_state,
    save_checkpoints,
    save_state,
)


@pytest.fixture
def resume(prepared, schedule, create):
    """Return a function that trains from the last checkpoint in a folder, to step `until`."""

    def resume(folder, until=None):
        state = restore_state(folder, create) or create()
        steps = train_masked(state, prepared.train, schedule, False)
        losses = []
        try:
            for step in save_checkpoints(
                steps, state, folder, lambda: state.step == until, print, interval=0.0
            ):
                losses.append(step.loss)
        except KeyboardInterrupt:
            assert state.step == until
        return state, losses

    return resume


def test_training_resumes_bit_for_bit(resume, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    undisturbed, losses = resume(whole)
    assert len(losses) == 12
    resume(parts, until=5)
    assert len(list(parts.iterdir())) == MAX_CHECKPOINTS
    before, newest = sorted(parts.iterdir())
    assert newest.stem == "step-0000000005"
    newest.write_bytes(newest.read_bytes()[:-100])  # so that it resumes from the one before
    resumed, rest = resume(parts)
    assert rest == losses[int(before.stem[5:]) :]
    for first, second in zip(
        undisturbed.model.parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(first, second)
    assert {path.suffix for path in parts.iterdir()} == {".safetensors"}


def test_training_resumed_without_the_moments_differs(resume, prepared, schedule, create, tmp_path):
    _, losses = resume(tmp_path)
    state = create()
    list(zip(range(5), train_masked(state, prepared.train, schedule, False), strict=False))
    optimizer = pretraining_optimizer(state.model)
    bare = PretrainingState(state.model, optimizer, state.step, state.seconds)
    rest = [step.loss for step in train_masked(bare, prepared.train, schedule, False)]
    assert rest[0] == losses[5]
    assert rest[2] != losses[7]


def test_optimizer_has_no_decay_on_vectors_and_the_betas_of_roberta(create):
    matrices, vectors = create().optimizer.param_groups
    assert {weight.ndim for weight in vectors["params"]} == {1}
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.01, 0.0)
    for group in (matrices, vectors):
        assert (group["betas"], group["eps"], group["fused"]) == ((0.9, 0.98), 1e-6, True)


def test_training_goes_on_where_a_checkpoint_cannot_be_written(
    prepared, schedule, create, tmp_path, monkeypatch
):
    def fail(state, _):
        if state.step < 12:
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("autoprune.pretraining.workspace.save_state", fail)
    state, lines = create(), []
    steps = train_masked(state, prepared.train, schedule, False)
    for _ in save_checkpoints(steps, state, tmp_path, lambda: False, lines.append, interval=0.0):
        pass
    assert state.step == 12
    assert lines[0].startswith("no checkpoint could be written, the training goes on: I/O error")


def test_perplexity_reads_no_token_twice(prepared, create):
    model = create().model
    stream = prepared.held_out.stream
    few = replace(stream, tokens=stream.tokens[:9], word_starts=stream.word_starts[:9])
    short = replace(prepared.held_out, stream=few)
    expected = perplexity(model, replace(short, length=10), 4, 10_000, False)
    assert perplexity(model, replace(short, length=64), 4, 10_000, False) == expected
    assert expected[1] <= 9
    none = replace(stream, tokens=stream.tokens[:0], word_starts=stream.word_starts[:0])
    assert perplexity(model, replace(short, stream=none), 4, 10_000, False) == (None, 0)


@pytest.mark.parametrize("size", [9, 15, 16, 31])
def test_perplexity_counts_each_token_once(prepared, create, monkeypatch, size):
    def mask_all(tokens, *_):
        masked = np.ones(tokens.shape, dtype=bool)
        masked[:, 0] = False
        return tokens, masked

    monkeypatch.setattr("autoprune.pretraining.training.mask_tokens", mask_all)
    stream = prepared.held_out.stream
    part = replace(stream, tokens=stream.tokens[:size], word_starts=stream.word_starts[:size])
    held_out = replace(prepared.held_out, stream=part)
    assert perplexity(create().model, held_out, 4, 10_000, False)[1] == size


def test_training_lowers_perplexity(prepared, create):
    schedule = PretrainingSchedule(8, 0.02, 0, None, 8 * 16 * 60)
    state = create()
    before, count = perplexity(state.model, prepared.held_out, 4, 10_000, False)
    list(train_masked(state, prepared.train, schedule, False))
    after, same = perplexity(state.model, prepared.held_out, 3, 10_000, False)
    assert before == pytest.approx(len(prepared.tokenizer), rel=0.2)
    assert after < before / 2
    assert count == same > 0


def test_training_ends_when_the_loss_is_not_finite(prepared, create):
    schedule = PretrainingSchedule(4, 1e30, 0, None, 10**4)
    with pytest.raises(TrialError, match="smaller --learning-rate"):
        list(train_masked(create(), prepared.train, schedule, False))


def test_training_by_time_ends_when_it_is_over(prepared, create):
    ticks = iter(range(10**6))
    schedule = PretrainingSchedule(2, 0.01, 0, 7.0, None)
    steps = train_masked(create(), prepared.train, schedule, False, 1, lambda: next(ticks))
    assert [step.seconds for step in steps] == [1, 2, 3, 4, 5, 6, 7]


def test_stacking_copies_layers_and_their_moments(prepared, shape, schedule, create):
    deep = replace(shape, layers=5)
    state = create(3)
    steps = list(train_masked(state, prepared.train, schedule, False, 0.5))
    assert [step.done < 0.5 for step in steps] == [True] * 5 + [False]
    stacked = stack_layers(state, deep, prepared.tokenizer, 0)
    layers, sources = stacked.model.bert.encoder.layer, state.model.bert.encoder.layer
    for layer, source in zip(layers, [0, 1, 2, 0, 1], strict=True):
        weight, copied = layer.output.dense.weight, sources[source].output.dense.weight
        assert torch.equal(weight, copied)
        for name, moment in state.optimizer.state[copied].items():
            assert torch.equal(stacked.optimizer.state[weight][name], moment)
    embeddings = [each.model.get_input_embeddings().weight for each in (state, stacked)]
    assert torch.equal(*embeddings)
    before = embeddings[0].detach().clone()
    assert len(list(train_masked(stacked, prepared.train, schedule, False))) == 6
    assert torch.equal(embeddings[0], before)  # the old model was copied, not shared
    assert not torch.equal(embeddings[1], before)


def test_checkpoint_restores_its_depth(create, tmp_path):
    save_state(create(1), tmp_path)
    assert restore_state(tmp_path, create).model.config.num_hidden_layers == 1


def test_checkpoints_are_two_at_most(create, tmp_path):
    state = create()
    for state.step in (9, 10, 11):
        save_state(state, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-0000000010.safetensors",
        "step-0000000011.safetensors",
    ]


def test_settings_that_differ_are_named(tmp_path):
    check_settings(tmp_path, {"--seed": 0, "--layers": 2})
    check_settings(tmp_path, {"--seed": 0, "--layers": 2})
    with pytest.raises(OptionError, match="--layers was 2 and is 3: give the same again"):
        check_settings(tmp_path, {"--seed": 0, "--layers": 3})


@pytest.mark.parametrize("content", ["", "3", "{"])
def test_damaged_settings_are_one_line_that_says_what_to_remove(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(OptionError, match=r"settings.json is damaged: remove .* to begin anew"):
        check_settings(tmp_path, {"--seed": 0})
