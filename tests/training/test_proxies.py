"""Cheap scores: a contract over all of them, and each one's known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoprune.choices import PROXY_NAMES
from autoprune.encoders.pruning import encoder_layers
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.training.proxies import PROXIES, alignment

LAYOUTS = all_layouts(4, 2)


def test_names_are_the_entries():
    assert tuple(PROXIES) == PROXY_NAMES


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_the_same_seed_gives_the_same_values_bit_for_bit(bench, name):
    proxy = PROXIES[name]
    torch.manual_seed(1)
    first = proxy(bench, LAYOUTS, 3)
    torch.manual_seed(2)
    assert proxy(bench, LAYOUTS, 3) == first
    assert len(first) == len(LAYOUTS) and np.isfinite(first).all()
    assert len(set(first)) > 1
    assert all(type(value) is float for value in first)


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_layouts_may_come_in_any_number_and_size(bench, name):
    mixed = [Layout(4, (0, 2)), Layout(4, (1,)), Layout(4, (0, 1, 3))]
    assert len(PROXIES[name](bench, mixed, 0)) == 3
    assert len(PROXIES[name](bench, mixed[:1], 0)) == 1


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_a_layer_that_destroys_what_comes_in_is_better_left_out(bench, name):
    def spoilt(seed):
        model = bench.load(seed)
        layer = encoder_layers(model)[1].output
        with torch.no_grad():
            layer.LayerNorm.weight.zero_()  # behind it, all rows are alike
        layer.requires_grad_(False)
        return model

    long = replace(bench.budget, steps=60, learning_rate=1e-2)
    values = PROXIES[name](replace(bench, load=spoilt, budget=long), LAYOUTS, 0)
    with_it = [value for layout, value in zip(LAYOUTS, values, strict=True) if 1 in layout.keep]
    without = [value for layout, value in zip(LAYOUTS, values, strict=True) if 1 not in layout.keep]
    assert max(with_it) < min(without)


def test_features_that_tell_the_labels_fit_best():
    rng = np.random.default_rng(0)
    targets = np.eye(3)[rng.integers(0, 3, 90)]
    targets -= targets.mean(axis=0)
    turned = targets @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    noise = rng.normal(size=(90, 3))
    noise -= noise.mean(axis=0)
    assert alignment(turned, targets) == pytest.approx(1)
    assert alignment(7 * turned, targets) == pytest.approx(1)
    assert alignment(noise, targets) < 0.1
