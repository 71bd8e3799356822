"""The trie: as few layers as can be, and not a bit of any score changed."""

import gc
from itertools import combinations

import numpy as np
import pytest
import torch

from autoprune.encoders.layerwise import LayerStack
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.tokenization import length_sorted_batches
from autoprune.training.loop import MicroBatcher, TrainingClock, predict_logits
from autoprune.training.metrics import score_predictions
from autoprune.training.one_shot import (
    build_trie,
    count_layer_passes,
    sample_rows,
    score_all,
    walk_trie,
)

CPU = torch.device("cpu")
ALL = [Layout(4, keep) for k in range(1, 5) for keep in combinations(range(4), k)]


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    """Keep to fp32, whatever this machine would choose."""
    for module in ("loop", "one_shot"):
        monkeypatch.setattr(f"autoprune.training.{module}.fast_in_bfloat16", lambda _: False)


@pytest.fixture
def model(bench):
    return bench.untrained(Layout.full(4), 0).eval()


@pytest.mark.parametrize(
    ("layouts", "passes"),
    [
        (all_layouts(12, 6), 1715),
        ([Layout(12, keep) for k in range(1, 13) for keep in combinations(range(12), k)], 4095),
        ([Layout(12, (0, 1, 2)), Layout(12, (0, 1, 5)), Layout(12, (3,))], 5),
    ],
)
def test_each_prefix_runs_once(layouts, passes):
    assert count_layer_passes(build_trie(layouts)) == passes


def test_a_walk_runs_as_many_layers_as_were_counted(bench, model, monkeypatch):
    ran = []
    run_layer = LayerStack.run_layer
    monkeypatch.setattr(LayerStack, "run_layer", lambda *args: ran.append(1) or run_layer(*args))
    root = build_trie(ALL)
    visits = list(walk_trie(model, root, bench.rows, np.arange(8), CPU))
    assert sorted(visit.number for visit in visits) == list(range(15))
    assert len(ran) == count_layer_passes(root) == 15


def test_scores_are_bit_for_bit_those_of_one_by_one(bench, model):
    found = score_all(model, ALL, bench.validation, 8, CPU)
    assert found.layer_passes == 15
    root = build_trie(ALL)
    for index in length_sorted_batches(bench.validation.lengths, 8):
        together = {
            v.number: v.logits() for v in walk_trie(model, root, bench.validation, index, CPU)
        }
        for number, layout in enumerate(ALL):
            alone = predict_logits(
                bench.untrained(layout, 0), bench.validation, CPU, MicroBatcher(8), TrainingClock()
            )
            assert (together[number].numpy() == alone[index]).all(), layout
    for shared in found.scores:
        logits = predict_logits(
            bench.untrained(shared.layout, 0),
            bench.validation,
            CPU,
            MicroBatcher(8),
            TrainingClock(),
        )
        alone = score_predictions(logits, bench.validation.labels, "accuracy", "validation", 0, 0.0)
        assert shared.rows == len(bench.validation)
        assert shared.accuracy == alone.accuracy
        assert shared.loss == pytest.approx(alone.loss, abs=1e-6)


def test_no_more_states_are_held_than_the_deepest_layout_has_layers(bench, model):
    def alive():
        gc.collect()
        shape = (8, int(bench.rows.lengths[:8].max()), 16)
        tensors = [one for one in gc.get_objects() if type(one) is torch.Tensor]
        return sum(one.shape == shape for one in tensors)

    gc.freeze()  # what was there before is not looked through at each visit
    try:
        most = max(
            alive() for _ in walk_trie(model, build_trie(ALL), bench.rows, np.arange(8), CPU)
        )
    finally:
        gc.unfreeze()
    # One for each layer of the deepest layout, its start, and the visit's own.
    assert 2 <= most <= 4 + 2


def test_halving_spends_less_and_keeps_the_best(bench, model):
    whole = score_all(model, ALL, bench.validation, 5, CPU)
    halved = score_all(model, ALL, bench.validation, 5, CPU, rungs=4)
    assert halved.layer_passes < 0.75 * whole.layer_passes
    rows = sorted(shared.rows for shared in halved.scores)
    assert rows == [10] * 7 + [20] * 4 + [30] * 2 + [40] * 2
    full = {shared.layout: shared for shared in whole.scores}
    stayed = [shared for shared in halved.scores if shared.rows == 40]
    for shared in stayed:
        assert shared.accuracy == full[shared.layout].accuracy
        assert shared.loss == pytest.approx(full[shared.layout].loss, abs=1e-9)


def test_some_rows_are_drawn_by_seed_and_stay_whole(bench):
    few = sample_rows(bench.rows, 10, 3)
    assert len(few) == 10 and few.ids is bench.rows.ids
    assert (few.starts == sample_rows(bench.rows, 10, 3).starts).all()
    assert (few.starts != sample_rows(bench.rows, 10, 4).starts).any()
    places = np.searchsorted(bench.rows.starts, few.starts)
    assert (bench.rows.lengths[places] == few.lengths).all()
    assert (bench.rows.labels[places] == few.labels).all()
    assert sample_rows(bench.rows, 1000, 3) is bench.rows
