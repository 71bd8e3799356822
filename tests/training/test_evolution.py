"""Evolution finds what is there to find, and the cache of prefixes changes no score."""

import numpy as np
import pytest
import torch

from autoprune.layouts.layout import Layout, all_layouts
from autoprune.search.evolution import evolve
from autoprune.training.one_shot import PrefixCache, score_all

CPU = torch.device("cpu")


def landscape(seed):
    """Return losses of layouts of 24 layers: single layers, and pairs of them."""
    rng = np.random.default_rng(seed)
    single, pairs = rng.normal(size=24), 0.3 * rng.normal(size=(24, 24))

    def losses(layouts):
        flags = np.array([layout.flags for layout in layouts])
        return list(flags @ single + np.einsum("ni,ij,nj->n", flags, pairs, flags))

    return losses


@pytest.mark.parametrize("seed", range(3))
def test_evolution_beats_as_many_random_layouts_by_far(seed):
    losses = landscape(seed)
    found = evolve(losses, 24, 12, seed)
    assert len({layout for layout, _ in found}) == len(found) == 40 * 32
    assert [loss for _, loss in found] == sorted(loss for _, loss in found)
    assert found == evolve(losses, 24, 12, seed)
    rng = np.random.default_rng(seed)
    drawn = [Layout(24, tuple(sorted(rng.permutation(24)[:12].tolist()))) for _ in found]
    others = losses(drawn)
    assert found[0][1] < min(others) - np.std(others) / 2


def test_evolution_ends_when_the_space_is_used_up():
    found = evolve(lambda layouts: [float(sum(one.keep)) for one in layouts], 5, 2, 0)
    assert [str(layout) for layout, _ in found][:2] == ["5:0-1", "5:0,2"]
    assert len(found) == 10


@pytest.mark.parametrize("most", [1, 6, 100])
def test_cached_prefixes_change_no_loss_and_save_layers(bench, most, monkeypatch):
    monkeypatch.setattr("autoprune.training.one_shot.fast_in_bfloat16", lambda _: False)
    model = bench.untrained(Layout.full(4), 0).eval()
    layouts = all_layouts(4, 2)[::-1] + all_layouts(4, 3)
    expected = [one.loss for one in score_all(model, layouts, bench.validation, 8, CPU).scores]
    prefixes = PrefixCache(model, bench.validation, 8, CPU, most)
    assert prefixes.losses(layouts) == pytest.approx(expected, abs=1e-9)
    assert max(len(states) for _, _, states in prefixes._batches) <= most
    first = prefixes.passes
    assert first < sum(len(layout.keep) for layout in layouts)
    assert prefixes.losses(layouts) == pytest.approx(expected, abs=1e-9)
    again = prefixes.passes - first
    assert again == 0 if most == 100 else again > 0
