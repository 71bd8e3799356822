"""One-shot scores: as few layers run as possible, and no score changes by a bit."""

import gc
from itertools import combinations

import numpy as np
import pytest
import torch

from autoprune.encoders.layerwise import LayerStack
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.tokenization import length_sorted_batches
from autoprune.training.loop import MicroBatcher, predict_logits
from autoprune.training.one_shot import (
    PrefixCache,
    build_trie,
    count_layer_passes,
    sample_rows,
    score_all,
    walk_trie,
)
from autoprune.training.problem_types import SINGLE_LABEL

CPU = torch.device("cpu")
ALL = [Layout(4, keep) for k in range(1, 5) for keep in combinations(range(4), k)]


pytestmark = pytest.mark.usefixtures("fp32")


@pytest.fixture
def model(evaluator):
    return evaluator.untrained(Layout.full(4), 0).eval()


@pytest.mark.parametrize(
    ("layouts", "passes"),
    [
        (all_layouts(12, 6), 1715),
        ([Layout(12, keep) for k in range(1, 13) for keep in combinations(range(12), k)], 4095),
        ([Layout(12, (0, 1, 2)), Layout(12, (0, 1, 5)), Layout(12, (3,))], 5),
    ],
)
def test_layer_passes_are_one_for_each_prefix(layouts, passes):
    assert count_layer_passes(build_trie(layouts)) == passes


def test_walk_runs_as_many_layers_as_were_counted(evaluator, model, monkeypatch):
    runs = []
    run_layer = LayerStack.run_layer
    monkeypatch.setattr(LayerStack, "run_layer", lambda *args: runs.append(1) or run_layer(*args))
    root = build_trie(ALL)
    visits = list(walk_trie(model, root, evaluator.rows, np.arange(8), CPU))
    assert sorted(visit.number for visit in visits) == list(range(15))
    assert len(runs) == count_layer_passes(root) == 15


def test_logits_and_scores_are_those_of_each_layout_alone(evaluator, model):
    shared = score_all(model, ALL, evaluator.validation, 8, CPU, SINGLE_LABEL)
    assert shared.layer_passes == 15
    alone = [
        predict_logits(evaluator.untrained(layout, 0), evaluator.validation, CPU, MicroBatcher(8))
        for layout in ALL
    ]
    root = build_trie(ALL)
    for rows in length_sorted_batches(evaluator.validation.lengths, 8):
        for visit in walk_trie(model, root, evaluator.validation, rows, CPU):
            assert (visit.logits().numpy() == alone[visit.number][rows]).all(), ALL[visit.number]
    for score, logits in zip(shared.scores, alone, strict=True):
        labels = evaluator.validation.labels
        expected = evaluator.problem_type.score(logits, labels, "accuracy", "validation", 0, 0.0)
        assert score.rows == len(evaluator.validation)
        assert score.accuracy == expected.accuracy
        assert score.loss == pytest.approx(expected.loss, abs=1e-6)


def test_walk_holds_no_more_states_than_the_deepest_layout_has_layers(evaluator, model):
    def count_states():
        gc.collect()
        shape = (8, int(evaluator.rows.lengths[:8].max()), 16)
        tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
        return sum(tensor.shape == shape for tensor in tensors)

    gc.freeze()  # so that older objects are not searched at each visit
    try:
        most = max(
            count_states()
            for _ in walk_trie(model, build_trie(ALL), evaluator.rows, np.arange(8), CPU)
        )
    finally:
        gc.unfreeze()
    # One for each layer of the deepest layout, its input, and the visit's own.
    assert 2 <= most <= 4 + 2


def test_halving_runs_fewer_layers_and_keeps_the_best(evaluator, model):
    whole = score_all(model, ALL, evaluator.validation, 5, CPU, SINGLE_LABEL)
    halved = score_all(model, ALL, evaluator.validation, 5, CPU, SINGLE_LABEL, rungs=4)
    assert halved.layer_passes < 0.75 * whole.layer_passes
    rows = sorted(shared.rows for shared in halved.scores)
    assert rows == [10] * 7 + [20] * 4 + [30] * 2 + [40] * 2
    full = {shared.layout: shared for shared in whole.scores}
    stayed = [shared for shared in halved.scores if shared.rows == 40]
    for shared in stayed:
        assert shared.accuracy == full[shared.layout].accuracy
        assert shared.loss == pytest.approx(full[shared.layout].loss, abs=1e-9)


def test_sampled_rows_are_drawn_by_seed_and_unchanged(evaluator):
    few = sample_rows(evaluator.rows, 10, 3)
    assert len(few) == 10 and few.ids is evaluator.rows.ids
    assert (few.starts == sample_rows(evaluator.rows, 10, 3).starts).all()
    assert (few.starts != sample_rows(evaluator.rows, 10, 4).starts).any()
    places = np.searchsorted(evaluator.rows.starts, few.starts)
    assert (evaluator.rows.lengths[places] == few.lengths).all()
    assert (evaluator.rows.labels[places] == few.labels).all()
    assert sample_rows(evaluator.rows, 1000, 3) is evaluator.rows


@pytest.mark.parametrize("max_states", [1, 6, 100])
def test_prefix_cache_changes_no_loss_and_runs_fewer_layers(evaluator, model, max_states):
    layouts = all_layouts(4, 2)[::-1] + all_layouts(4, 3)
    split = evaluator.validation
    scores = score_all(model, layouts, split, 8, CPU, SINGLE_LABEL).scores
    expected = [score.loss for score in scores]
    cache = PrefixCache(model, split, 8, CPU, SINGLE_LABEL, max_states)
    assert cache.losses(layouts) == pytest.approx(expected, abs=1e-9)
    assert max(len(states) for _, _, states in cache._batches) <= max_states
    first = cache.passes
    assert first < sum(len(layout.keep) for layout in layouts)
    assert cache.losses(layouts) == pytest.approx(expected, abs=1e-9)
    again = cache.passes - first
    assert again == 0 if max_states == 100 else again > 0
