"""Profiling: logits, operations, time, peak memory and warnings against known answers."""

import os
import shutil
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.profiling import (
    EXPECTED_GAIN,
    LayerTimes,
    count_flops,
    count_parameters,
    measure_in_turns,
    measure_peak_memory,
    open_classifier,
    open_trained,
    speed_warnings,
    time_outside_layers,
)
from autoprune.encoders.pruning import encoder_layers, keep_layers
from autoprune.encoders.registry import Encoder
from autoprune.errors import ModelError, OptionError
from autoprune.layouts.layout import Layout

CPU = torch.device("cpu")
ROWS, LENGTH, WIDTH, WIDE, DEPTH = 3, 11, 16, 24, 5


def tokens(rows=ROWS, length=LENGTH):
    ids = np.random.default_rng(0).integers(2, 15, (rows, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def opened(folder, how=open_classifier):
    return how(read_checkpoint(Encoder("tiny", str(folder)), Path(folder)), CPU)


def test_classifier_gives_the_logits_of_transformers(make_model, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(make_model("bert"), num_labels=4)
    model.save_pretrained(tmp_path / "four")
    shutil.copy(make_model("bert") / "tokenizer.json", tmp_path / "four")
    with torch.inference_mode():
        wanted = model.eval()(input_ids=torch.from_numpy(tokens()["input_ids"])).logits.numpy()
    found = opened(tmp_path / "four", open_trained)(tokens())
    assert found.shape == (ROWS, 4)
    assert np.abs(found - wanted).max() < 1e-6


def by_hand(layers, rows, length):
    """Count products and sums of a BERT's matrix products; the head has two classes."""
    maps = 2 * length * (4 * WIDTH**2 + 2 * WIDTH * WIDE)
    attention = 2 * 2 * length**2 * WIDTH
    head = 2 * (WIDTH**2 + WIDTH * 2)
    return rows * (layers * (maps + attention) + head)


@pytest.mark.parametrize(("rows", "length"), [(1, 2), (ROWS, LENGTH)])
def test_count_flops_equals_a_count_by_hand(make_model, rows, length):
    classifier = opened(make_model("bert"))
    assert count_flops(classifier, [tokens(rows, length)]) == by_hand(DEPTH, rows, length)
    keep_layers(classifier.model, Layout(DEPTH, (0, 3)))
    assert count_flops(classifier, [tokens(rows, length)] * 2) == 2 * by_hand(2, rows, length)


class Slow(torch.nn.Module):
    def __init__(self, inner, seconds):
        super().__init__()
        self.inner, self.seconds = inner, seconds

    def forward(self, *args, **named):
        time.sleep(self.seconds)
        return self.inner(*args, **named)


def test_time_outside_layers_leaves_out_time_inside(make_model):
    classifier = opened(make_model("bert"))
    layers = encoder_layers(classifier.model)
    for place in range(DEPTH):
        layers[place] = Slow(layers[place], 0.01)
    assert time_outside_layers(classifier, [tokens()]) < 0.3
    base = classifier.model.base_model
    base.embeddings = Slow(base.embeddings, 0.15)
    assert 0.65 < time_outside_layers(classifier, [tokens()]) < 0.8


def test_time_outside_layers_removes_its_hooks(make_model):
    classifier = opened(make_model("bert"))
    time_outside_layers(classifier, [tokens()])
    for layer in encoder_layers(classifier.model):
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks


def test_open_classifier_refuses_broken_weights(bert):
    (bert / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError):
        opened(bert)


def test_peak_memory_is_that_of_the_job():
    small = measure_peak_memory(partial(torch.ones, 1), CPU)
    large = measure_peak_memory(partial(torch.ones, 50 * 2**18), CPU)
    assert small < 4e6
    assert abs(large - 50 * 2**20) < 4e6


def test_peak_memory_does_not_add_up_over_jobs():
    found = [measure_peak_memory(partial(torch.ones, 20 * 2**18), CPU) for _ in range(3)]
    assert max(abs(one - 20 * 2**20) for one in found) < 4e6


def test_peak_memory_of_a_killed_process_is_an_error_of_one_line():
    with pytest.raises(OptionError, match=r"ended from outside.*smaller --batch"):
        measure_peak_memory(partial(os._exit, 9), CPU)


def test_peak_memory_raises_the_error_of_the_job():
    with pytest.raises(ZeroDivisionError):
        measure_peak_memory(partial(divmod, 1, 0), CPU)


def test_count_parameters_of_a_pruned_model(make_model):
    classifier = opened(make_model("bert"))
    before = count_parameters(classifier.model)
    keep_layers(classifier.model, Layout(DEPTH, (1, 2)))
    after = count_parameters(classifier.model)
    layer = 4 * (WIDTH**2 + WIDTH) + 2 * WIDTH * WIDE + WIDE + WIDTH + 4 * WIDTH
    assert before.total - after.total == 3 * layer
    assert before.embeddings == after.embeddings == WIDTH * (40 + 40 + 2)


def test_measure_in_turns_alternates_and_leaves_out_the_warm_up():
    made = []
    seconds = measure_in_turns({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, 4)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}
    rounds = ["".join(made[start : start + 2]) for start in range(0, len(made), 2)]
    assert rounds == ["ab", "ba"] * 3  # two to warm up, four that count


def test_measure_in_turns_ignores_a_slow_warm_up():
    waits = iter([0.05, 0.05])
    seconds = measure_in_turns({"late": lambda: time.sleep(next(waits, 0))}, 6)
    assert max(seconds["late"]) < 0.05


def test_measure_in_turns_returns_seconds():
    seconds = measure_in_turns({1: lambda: time.sleep(0.01), 2: lambda: time.sleep(0.03)}, 6)
    assert statistics.median(seconds[1]) >= 0.01
    assert statistics.median(seconds[2]) >= 0.03
    assert len(set(seconds[1])) > 1


def layer_times(layers, layer=1.0, outside=0.0, tokenising=0.0, call=0.0, batch=32):
    """Return the times of a model by what a layer, the rest and a call cost per text."""
    work = layers * layer + outside
    return LayerTimes(
        layers=layers,
        forward=work + call / batch,
        outside=outside,
        tokenising=tokenising,
        alone=work + call,
    )


@pytest.mark.parametrize(
    ("full", "small"),
    [
        (layer_times(12), layer_times(6)),
        (layer_times(12, outside=0.5, tokenising=0.5), layer_times(6, outside=0.5, tokenising=0.5)),
        (layer_times(12), layer_times(6, layer=2 / (2 * EXPECTED_GAIN) - 0.01)),
        (layer_times(6), layer_times(6, layer=1.2)),
    ],
)
def test_speed_warnings_are_empty_for_the_promised_gain(full, small):
    assert speed_warnings(full, small, 32) == ()


def test_speed_warnings_give_the_figures_of_a_small_gain():
    [warning] = speed_warnings(layer_times(12, outside=10), layer_times(6, outside=10), 32)
    assert warning.startswith(
        "Little gain: 1.38 times the full model's throughput in batches of 32, where the "
        "layers (12 to 6) promise 2.00. "
    )
    assert "the embeddings and the head, which take 62% of" in warning


def test_speed_warnings_tell_the_gain_that_is_shown():
    [warning] = speed_warnings(layer_times(12, outside=10), layer_times(6, outside=10), 32, 1.41)
    assert warning.startswith("Little gain: 1.41 times the full model's throughput")


def test_speed_warnings_begin_below_the_expected_gain():
    just, under = layer_times(6, layer=1.2499), layer_times(6, layer=1.2501)
    assert speed_warnings(layer_times(12), just, 32) == ()
    assert len(speed_warnings(layer_times(12), under, 32)) == 1


def test_speed_warnings_name_a_slow_tokenizer():
    [warning] = speed_warnings(layer_times(12, tokenising=20), layer_times(6, tokenising=20), 32)
    assert "with the tokenizer counted: 1.23 times" in warning
    assert "the tokenizer, which takes 77% of" in warning


def test_speed_warnings_name_model_and_tokenizer_together():
    both = {"outside": 10, "tokenising": 80}
    first, second = speed_warnings(layer_times(12, **both), layer_times(6, **both), 32)
    assert "the embeddings and the head" in first
    assert "the tokenizer" in second


def test_speed_warnings_name_batches_of_one_text():
    [warning] = speed_warnings(
        layer_times(12, call=30, batch=1), layer_times(6, call=30, batch=1), 1
    )
    assert "one text at a time" in warning


def test_speed_warnings_name_a_batch_too_small_for_the_device():
    # A call costs the same for 1 text and 32: a GPU that waits.
    full = LayerTimes(layers=12, forward=1.4 / 32, outside=0, tokenising=0, alone=1.3)
    small = LayerTimes(layers=6, forward=1.2 / 32, outside=0, tokenising=0, alone=1.1)
    [warning] = speed_warnings(full, small, 32)
    assert "too small a batch for this device" in warning
    assert "takes only 1.1 times as long as one with a single text" in warning


def test_speed_warnings_without_a_cause_say_what_was_excluded():
    [warning] = speed_warnings(layer_times(12), layer_times(6, layer=1.6), 32)
    assert "The layers alone are 1.25 times as fast" in warning
    assert "other work on this machine" in warning


@pytest.mark.parametrize("keep", range(1, 12))
def test_speed_warnings_promise_by_the_number_of_layers(keep):
    assert speed_warnings(layer_times(12), layer_times(keep), 32) == ()
    [warning] = speed_warnings(layer_times(12), layer_times(keep, layer=1.3), 32)
    assert f"the layers (12 to {keep}) promise {12 / keep:.2f}" in warning
