"""Evolution: it finds good layouts, and ends when all layouts are tried."""

import numpy as np
import pytest

from autoprune.layouts.layout import Layout
from autoprune.search.baseline_samplers import evolve


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
    found = evolve(lambda layouts: [float(sum(layout.keep)) for layout in layouts], 5, 2, 0)
    assert [str(layout) for layout, _ in found][:2] == ["5:0-1", "5:0,2"]
    assert len(found) == 10
