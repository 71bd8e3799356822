"""Proxies: a contract over all of them, and known answers of each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoprune.choices import PROXY_NAMES
from autoprune.encoders.pruning import encoder_layers
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.training import proxies
from autoprune.training.proxies import PROXIES, alignment

LAYOUTS = all_layouts(4, 2)


def test_choices_name_every_proxy():
    assert tuple(PROXIES) == PROXY_NAMES


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_proxy_with_the_same_seed_is_the_same_bit_for_bit(evaluator, name):
    proxy = PROXIES[name]
    torch.manual_seed(1)
    first = proxy(evaluator, LAYOUTS, 3)
    torch.manual_seed(2)
    assert proxy(evaluator, LAYOUTS, 3) == first
    assert len(first) == len(LAYOUTS) and np.isfinite(first).all()
    assert len(set(first)) > 1
    assert all(type(value) is float for value in first)


def test_alignment_of_some_layouts_at_a_time_is_the_same(evaluator, monkeypatch):
    together = PROXIES["alignment"](evaluator, LAYOUTS, 3)
    monkeypatch.setattr("autoprune.training.proxies.MEANS_BYTES", 1)
    seen = []
    trie = proxies.build_trie
    monkeypatch.setattr(proxies, "build_trie", lambda some: seen.append(len(some)) or trie(some))
    assert PROXIES["alignment"](evaluator, LAYOUTS, 3) == together
    assert seen == [1] * len(LAYOUTS)


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_proxy_takes_layouts_of_any_number_and_size(evaluator, name):
    mixed = [Layout(4, (0, 2)), Layout(4, (1,)), Layout(4, (0, 1, 3))]
    assert len(PROXIES[name](evaluator, mixed, 0)) == 3
    assert len(PROXIES[name](evaluator, mixed[:1], 0)) == 1


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_proxy_prefers_layouts_without_a_layer_that_destroys_its_input(evaluator, name):
    def load(seed):
        model = evaluator.load(seed)
        layer = encoder_layers(model)[1].output
        with torch.no_grad():
            layer.LayerNorm.weight.zero_()  # all rows are equal after it
        layer.requires_grad_(False)
        return model

    long = replace(evaluator.budget, steps=60, learning_rate=1e-2)
    values = PROXIES[name](replace(evaluator, load=load, budget=long), LAYOUTS, 0)
    with_it = [value for layout, value in zip(LAYOUTS, values, strict=True) if 1 in layout.keep]
    without = [value for layout, value in zip(LAYOUTS, values, strict=True) if 1 not in layout.keep]
    assert max(with_it) < min(without)


def test_alignment_is_greatest_for_features_that_determine_the_labels():
    rng = np.random.default_rng(0)
    targets = np.eye(3)[rng.integers(0, 3, 90)]
    targets -= targets.mean(axis=0)
    turned = targets @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    noise = rng.normal(size=(90, 3))
    noise -= noise.mean(axis=0)
    assert alignment(turned, targets) == pytest.approx(1)
    assert alignment(7 * turned, targets) == pytest.approx(1)
    assert alignment(noise, targets) < 0.1
