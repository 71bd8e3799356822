"""Shortcuts that leave the score as it is, bit for bit."""

import gc
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from autoprune.choices import METHOD_NAMES
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.pruning import encoder_layers
from autoprune.encoders.registry import find_encoder
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows
from autoprune.tasks.tokenization import encode
from autoprune.training import activation_cache, loop
from autoprune.training import evaluator as benches
from autoprune.training.evaluator import LayoutEvaluator
from tiny_models import DEPTH, FAMILIES, save_model

HALF = Layout(4, (0, 2))


@pytest.fixture
def predicted(monkeypatch):
    """Count the evaluations of the validation split."""
    plain, calls = benches.predict_logits, []

    def counted(*args):
        calls.append(1)
        return plain(*args)

    monkeypatch.setattr(benches, "predict_logits", counted)
    return calls


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_checks_that_nobody_hears_of_are_left_out_and_change_no_score(
    bench, budget, method, predicted
):
    bench = replace(bench, budget=replace(budget, method=method))
    heard = []
    watched = bench.measure(HALF, 3, lambda quality, steps: heard.append((quality, steps)))
    with_checks = len(predicted)
    unwatched = bench.measure(HALF, 3)
    assert replace(watched, seconds=0) == replace(unwatched, seconds=0)
    assert [steps for _, steps in heard] == [4, 8, 12]
    assert with_checks - (len(predicted) - with_checks) == 2


def test_a_budget_with_patience_hears_of_every_check(bench, budget, predicted):
    replace(bench, budget=replace(budget, patience=3)).measure(HALF, 3)
    assert len(predicted) == 3


def saved(family, folder):
    """Return a loader of a tiny pre-trained model of `family`, and rows to train and to validate.

    The model has no dropout before its head.
    """
    checkpoint = fetch(find_encoder(str(save_model(family, folder))), False)
    tokenizer = load_tokenizer(checkpoint)
    words = ["एक", "दोन", "तीन", "चार", "पाच", "सहा"]
    rng = np.random.default_rng(0)

    def draw(count):
        labels = rng.integers(0, 3, count)
        drawn = [[words[label], *rng.choice(words, rng.integers(1, 6))] for label in labels]
        return encode(LabelledRows(tuple(map(" ".join, drawn)), tuple(labels)), tokenizer, 16)

    return partial(load_classifier, checkpoint, ["a", "b", "c"]), draw(48), draw(40)


# The heads of these families read more than the first token of a row.
NOT_CACHED = ("modernbert", "nomic_bert")


@pytest.fixture
def exact(monkeypatch):
    """Leave bfloat16 out: it rounds a state otherwise where a batch is otherwise."""
    for room in (activation_cache, loop):
        monkeypatch.setattr(room, "fast_in_bfloat16", lambda _: False)


def bench_of(family, folder, budget, method):
    load, train, validation = saved(family, folder / "model")
    return LayoutEvaluator(
        load, train, validation, replace(budget, method=method), torch.device("cpu")
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_trained_on_states_computed_once_is_the_same(
    family, tmp_path, budget, monkeypatch, exact
):
    mine, layout = bench_of(family, tmp_path, budget, "probe"), Layout(DEPTH, (0, 2, 3))
    once = mine.train(layout, 3)
    monkeypatch.setattr(benches, "cached_activations", lambda _, splits, *__: nullcontext(splits))
    each = mine.train(layout, 3)
    assert once.score.loss == pytest.approx(each.score.loss, abs=2e-6)
    assert once.score.loss != pytest.approx(mine.train(layout, 4).score.loss, abs=2e-5)
    torch.testing.assert_close(
        dict(once.model.named_parameters()), dict(each.model.named_parameters()), atol=2e-4, rtol=0
    )


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in NOT_CACHED])
def test_frozen_layers_run_once_for_each_row(family, tmp_path, budget):
    load, train, validation = saved(family, tmp_path / "model")
    ran = []

    def watched(seed):
        model = load(seed)
        for layer in encoder_layers(model)[:2]:
            layer.register_forward_hook(lambda *_: ran.append(1))
        return model

    mine = replace(budget, method="probe", batch=48)
    LayoutEvaluator(watched, train, validation, mine, torch.device("cpu")).train(
        Layout.full(DEPTH), 3
    )
    assert len(ran) == 2 * 3  # a few rows to try the cache, the train rows, the validation rows


def test_states_that_are_too_many_are_not_kept_and_the_score_is_the_same(
    tmp_path, budget, monkeypatch, exact
):
    mine, layout = bench_of("bert", tmp_path, budget, "probe"), Layout(DEPTH, (0, 2, 3))
    kept = mine.train(layout, 3).score
    monkeypatch.setattr(activation_cache, "_MAX_CACHE_BYTES", 0)
    monkeypatch.setattr(activation_cache, "_encode_split", pytest.fail)
    assert mine.train(layout, 3).score.loss == pytest.approx(kept.loss, abs=1e-4)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists the mappings")
def test_the_checkpoints_file_is_not_held_in_memory_while_a_candidate_trains(tmp_path, budget):
    load, train, validation = saved("bert", tmp_path / "model")
    bench = LayoutEvaluator(load, train, validation, budget, torch.device("cpu"))
    mapped = str(tmp_path / "model")
    whole = load(0)
    assert mapped in Path("/proc/self/maps").read_text()
    del whole
    gc.collect()
    model = bench.untrained(Layout(DEPTH, (0, 1)), 0)
    gc.collect()
    assert mapped not in Path("/proc/self/maps").read_text()
    assert len(encoder_layers(model)) == 2
