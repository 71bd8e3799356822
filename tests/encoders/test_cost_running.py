"""Running a classifier: logits, counted arithmetic, time outside the layers, peak memory."""

import os
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.profiling import (
    count_flops,
    count_parameters,
    measure_peak_memory,
    open_classifier,
    open_trained,
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


def test_logits_are_plain_transformers(make_model, tmp_path):
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
def test_arithmetic_is_counted_as_by_hand(make_model, rows, length):
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


def test_time_outside_the_layers_is_told_from_time_inside(make_model):
    classifier = opened(make_model("bert"))
    layers = encoder_layers(classifier.model)
    for place in range(DEPTH):
        layers[place] = Slow(layers[place], 0.01)
    assert time_outside_layers(classifier, [tokens()]) < 0.3
    base = classifier.model.base_model
    base.embeddings = Slow(base.embeddings, 0.15)
    assert 0.65 < time_outside_layers(classifier, [tokens()]) < 0.8


def test_no_hook_stays(make_model):
    classifier = opened(make_model("bert"))
    time_outside_layers(classifier, [tokens()])
    for layer in encoder_layers(classifier.model):
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks


def test_a_broken_folder_is_refused(bert):
    (bert / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError):
        opened(bert)


def test_peak_memory_is_what_the_job_takes():
    small = measure_peak_memory(partial(torch.ones, 1), CPU)
    large = measure_peak_memory(partial(torch.ones, 50 * 2**18), CPU)
    assert small < 4e6
    assert abs(large - 50 * 2**20) < 4e6


def test_peak_memory_does_not_add_up_over_jobs():
    found = [measure_peak_memory(partial(torch.ones, 20 * 2**18), CPU) for _ in range(3)]
    assert max(abs(one - 20 * 2**20) for one in found) < 4e6


def test_a_process_that_is_killed_is_told_in_one_line():
    with pytest.raises(OptionError, match=r"ended from outside.*smaller --batch"):
        measure_peak_memory(partial(os._exit, 9), CPU)


def test_the_job_s_own_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        measure_peak_memory(partial(divmod, 1, 0), CPU)


def test_a_pruned_model_has_fewer_parameters_and_as_many_embeddings(make_model):
    classifier = opened(make_model("bert"))
    before = count_parameters(classifier.model)
    keep_layers(classifier.model, Layout(DEPTH, (1, 2)))
    after = count_parameters(classifier.model)
    layer = 4 * (WIDTH**2 + WIDTH) + 2 * WIDTH * WIDE + WIDE + WIDTH + 4 * WIDTH
    assert before.total - after.total == 3 * layer
    assert before.embeddings == after.embeddings == WIDTH * (40 + 40 + 2)
