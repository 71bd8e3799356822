"""Export of each model family and layout answers as the trained model; the best run is taken."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from autoprune.encoders.pruning import encoder_layers
from autoprune.errors import TrialError
from autoprune.export import reload
from autoprune.export.export import save_model
from autoprune.export.final_training import (
    draw_sample,
    export_seeds,
    merged_model,
    train_best,
    train_final_model,
)
from autoprune.export.trim_vocabulary import cut_vocabulary
from autoprune.export.verify import expect_export, verify_export
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.workers import WorkerPool
from tiny_models import FAMILIES

ANY = ["5:1", "5:0,3", "5:2-4", "5:1-2,4", "5:0-4"]
FIRST = ["5:0", "5:0,3", "5:0-2", "5:0,2,4", "5:0-4"]  # ModernBERT must keep its first layer
CASES = [
    (family, layout) for family in FAMILIES for layout in {"modernbert": FIRST}.get(family, ANY)
]
LAYOUT = Layout.parse("5:1,3")


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def trained(request, tiny):
    """Return a tiny export, a layout, and the run of that layout."""
    family, text = request.param
    made, layout = tiny(family), Layout.parse(text)
    return made, layout, made.train(layout)


def reload_gap(folder, made, run, model, tokenizer, numbers=None):
    """Save a model and return the largest difference of a logit after reloading."""
    tokenizer.model_max_length, tokenizer.padding_side = 12, "right"
    save_model(model, tokenizer, folder)
    expected = expect_export(made.sample, run.logits, made.splits.names, model, tokenizer, numbers)
    return verify_export(folder, expected, reload.reload_logits)


def test_export_has_the_logits_of_the_trained_model(trained, tmp_path):
    made, layout, run = trained
    model = merged_model(made.evaluator, layout, run)
    assert reload_gap(tmp_path / "model", made, run, model, made.tokenizer) <= 1e-6
    assert len(encoder_layers(model)) == model.config.num_hidden_layers == len(layout.keep)


def test_export_with_a_cut_vocabulary_has_the_same_logits(trained, tmp_path):
    made, layout, run = trained
    model = merged_model(made.evaluator, layout, run)
    cut, _ = cut_vocabulary(model, made.tokenizer, made.splits, made.test, [])
    folder = tmp_path / "model"
    assert reload_gap(folder, made, run, model, cut.tokenizer, cut.numbers) <= 1e-6
    assert len(cut.numbers) == len(cut.tokenizer) < len(made.tokenizer)


@pytest.mark.parametrize("method", ["lora", "head"])
def test_export_of_other_fine_tuning_methods(tiny, tmp_path, method):
    made = tiny("bert")
    evaluator = replace(made.evaluator, budget=replace(made.evaluator.budget, method=method))
    made = replace(made, evaluator=evaluator)
    run = made.train(LAYOUT)
    model = merged_model(evaluator, LAYOUT, run)
    assert reload_gap(tmp_path / "model", made, run, model, made.tokenizer) <= 1e-6


def test_export_of_a_task_with_two_texts_per_row(tiny, tmp_path):
    made = tiny("bert")

    def paired(rows):
        return LabelledRows(rows.texts, rows.labels, rows.texts[::-1])

    splits = replace(
        made.splits, train=paired(made.splits.train), validation=paired(made.splits.validation)
    )
    test = replace(made.test, rows=paired(made.test.rows))
    sample = draw_sample(splits, test, made.tokenizer, 12, made.evaluator.rows.kept)
    made = replace(made, sample=sample)
    run = made.train(LAYOUT)
    model = merged_model(made.evaluator, LAYOUT, run)
    assert reload_gap(tmp_path / "model", made, run, model, made.tokenizer) <= 1e-6
    assert sample.rows.pairs is not None
    assert run.logits.together.shape == (64, 3)


def test_export_restores_embeddings_that_were_not_trained(tiny):
    made = tiny("bert")
    before = made.evaluator.load(0).get_input_embeddings().weight
    after = merged_model(made.evaluator, LAYOUT, made.train(LAYOUT)).get_input_embeddings().weight
    kept = set(made.evaluator.rows.kept.tolist())
    others = [token for token in range(len(before)) if token not in kept]
    assert len(others) > 5
    assert torch.equal(before[others], after[others])
    moved = (before != after).any(-1).nonzero().flatten().tolist()
    assert set(moved) <= kept
    assert len(moved) > 10


def test_sample_has_texts_from_the_shortest_to_the_longest(tiny):
    made = tiny("bert")
    rows = made.sample.rows
    whole = {*made.splits.train.texts, *made.splits.validation.texts, *made.test.rows.texts}
    assert len(rows) == len(set(rows.texts)) == 64
    assert rows.texts[0] == min(whole, key=lambda text: (len(text), text))
    assert len(rows.texts[-1]) == max(map(len, whole))
    few = replace(
        made.splits,
        train=LabelledRows(("एक", "दोन"), (0, 1)),
        validation=LabelledRows(("एक",), (0,)),
    )
    small = replace(made.test, rows=LabelledRows(("cab",), (0,)))
    sample = draw_sample(few, small, made.tokenizer, 12, None)
    assert sorted(sample.rows.texts) == ["cab", "एक", "दोन"]


def test_best_run_on_validation_is_taken(tiny):
    seeds, runs = [11, 12, 13, 14], {}
    best = train_best(tiny("bert").training(LAYOUT), seeds, WorkerPool(1), runs.__setitem__)
    quality = {seed: run.score("validation").quality for seed, run in runs.items()}
    assert list(quality) == seeds
    assert best is runs[max(seeds, key=lambda seed: quality[seed])]
    assert len(set(quality.values())) > 1


def test_run_that_fails_is_skipped(tiny, monkeypatch):
    training, runs = tiny("bert").training(LAYOUT), {}
    train = LayoutEvaluator.train

    def fail_with_seed_1(evaluator, layout, seed):
        if seed == 1:
            raise TrialError("the loss is nan")
        return train(evaluator, layout, seed)

    monkeypatch.setattr(LayoutEvaluator, "train", fail_with_seed_1)
    best = train_best(training, [1, 2], WorkerPool(1), runs.__setitem__)
    assert best is runs[2]
    assert str(runs[1]) == "the loss is nan"
    with pytest.raises(TrialError, match="the loss is nan"):
        train_best(training, [1], WorkerPool(1))


def test_run_in_another_process_is_the_same(tiny):
    training = tiny("bert").training(LAYOUT)
    sent = pickle.loads(pickle.dumps(training))
    remote = pickle.loads(pickle.dumps(train_final_model(sent, 5)))
    local = train_final_model(training, 5)
    assert remote.weights.keys() == local.weights.keys()
    assert all((remote.weights[name] == local.weights[name]).all() for name in local.weights)
    assert (remote.logits.together == local.logits.together).all()
    assert remote.score("test").loss == local.score("test").loss


def test_export_seeds_are_above_all_used_ones():
    assert export_seeds([0, 7, 3], 3) == [8, 9, 10]
    assert export_seeds([], 1) == [0]


def test_run_scores_are_those_of_the_test_rows(tiny):
    made = tiny("bert")
    run = made.train(LAYOUT)
    assert [score.split for score in run.scores] == ["validation", "test", "test-raw"]
    model = merged_model(made.evaluator, LAYOUT, run)
    cut = {"padding": True, "truncation": True, "max_length": 12, "return_tensors": "pt"}
    inputs = made.tokenizer(list(made.test.rows.texts), **cut)
    with torch.inference_mode():
        predictions = model(**inputs).logits.argmax(-1).numpy()
    correct = predictions == np.array(made.test.rows.labels)
    assert run.score("test-raw").accuracy == pytest.approx(correct.mean())
    assert run.score("test").accuracy == pytest.approx(correct[np.array(made.test.kept)].mean())
