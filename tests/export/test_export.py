"""Contract: what is exported of any family and layout passes the gate, vocabulary whole or cut."""

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
from autoprune.export.verify import expected_export, verify_export
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows
from autoprune.training.workers import WorkerPool
from tiny_models import FAMILIES

ANY = ["5:1", "5:0,3", "5:2-4", "5:1-2,4", "5:0-4"]
FIRST = ["5:0", "5:0,3", "5:0-2", "5:0,2,4", "5:0-4"]  # ModernBERT must keep its first layer
CASES = [
    (family, layout) for family in FAMILIES for layout in {"modernbert": FIRST}.get(family, ANY)
]
LAYOUT = Layout.parse("5:1,3")


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def trained(request, place):
    """Return a tiny model's place, a layout, and that layout trained."""
    family, text = request.param
    made, layout = place(family), Layout.parse(text)
    return made, layout, made.train(layout)


def reloaded(folder, made, done, model, tokenizer, numbers=None):
    """Save a model and return the largest difference of a logit after a reload."""
    tokenizer.model_max_length, tokenizer.padding_side = 12, "right"
    save_model(model, tokenizer, folder)
    expected = expected_export(
        made.sample, done.answers, made.splits.names, model, tokenizer, numbers
    )
    return verify_export(folder, expected, reload.reload_logits)


def test_the_exported_model_answers_as_the_trained_one(trained, tmp_path):
    made, layout, done = trained
    model = merged_model(made.bench, layout, done)
    assert reloaded(tmp_path / "model", made, done, model, made.tokenizer) <= 1e-6
    assert len(encoder_layers(model)) == model.config.num_hidden_layers == len(layout.keep)


def test_with_a_cut_vocabulary_too(trained, tmp_path):
    made, layout, done = trained
    model = merged_model(made.bench, layout, done)
    cut = cut_vocabulary(model, made.tokenizer, made.splits, made.test, [])
    numbers = {int(old): new for new, old in enumerate(cut.kept)}
    assert reloaded(tmp_path / "model", made, done, model, cut.tokenizer, numbers) <= 1e-6
    assert len(cut.kept) == len(cut.tokenizer) < len(made.tokenizer)


@pytest.mark.parametrize("method", ["lora", "head"])
def test_other_methods_of_fine_tuning(place, tmp_path, method):
    made = place("bert")
    bench = replace(made.bench, budget=replace(made.bench.budget, method=method))
    made = replace(made, bench=bench)
    done = made.train(LAYOUT)
    model = merged_model(bench, LAYOUT, done)
    assert reloaded(tmp_path / "model", made, done, model, made.tokenizer) <= 1e-6


def test_pairs_of_texts(place, tmp_path):
    made = place("bert")

    def paired(rows):
        return LabelledRows(rows.texts, rows.labels, rows.texts[::-1])

    splits = replace(
        made.splits, train=paired(made.splits.train), validation=paired(made.splits.validation)
    )
    test = replace(made.test, rows=paired(made.test.rows))
    chosen = draw_sample(splits, test, made.tokenizer, 12, made.bench.rows.kept)
    made = replace(made, sample=chosen)
    done = made.train(LAYOUT)
    model = merged_model(made.bench, LAYOUT, done)
    assert reloaded(tmp_path / "model", made, done, model, made.tokenizer) <= 1e-6
    assert chosen.rows.pairs is not None
    assert done.answers.together.shape == (64, 3)


def test_rows_left_out_of_training_stay_as_they_were(place):
    made = place("bert")
    before = made.bench.load(0).get_input_embeddings().weight
    after = merged_model(made.bench, LAYOUT, made.train(LAYOUT)).get_input_embeddings().weight
    kept = set(made.bench.rows.kept.tolist())
    others = [token for token in range(len(before)) if token not in kept]
    assert len(others) > 5
    assert torch.equal(before[others], after[others])
    moved = (before != after).any(-1).nonzero().flatten().tolist()
    assert set(moved) <= kept
    assert len(moved) > 10


def test_a_sample_runs_from_the_shortest_to_the_longest(place):
    made = place("bert")
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
    chosen = draw_sample(few, small, made.tokenizer, 12, None)
    assert sorted(chosen.rows.texts) == ["cab", "एक", "दोन"]


def test_the_best_seed_on_validation_is_taken(place):
    made, told = place("bert"), {}
    kept = np.array(made.test.kept)
    seeds = [11, 12, 13, 14]
    best = train_best(
        made.bench,
        LAYOUT,
        seeds,
        made.encoded,
        kept,
        made.sample.encoded,
        WorkerPool(1),
        told.__setitem__,
    )
    quality = {seed: run.score("validation").quality for seed, run in told.items()}
    assert list(quality) == seeds
    assert best is told[max(seeds, key=lambda seed: quality[seed])]
    assert len(set(quality.values())) > 1


def test_a_seed_that_fails_is_passed_over(place, monkeypatch):
    made, told = place("bert"), {}
    real = type(made.bench).train

    def train(bench, layout, seed):
        assert seed in (1, 2)
        return real(bench, layout, seed) if seed == 2 else fail()

    def fail():
        raise TrialError("the loss is nan")

    monkeypatch.setattr(type(made.bench), "train", train)
    arguments = (made.encoded, np.array(made.test.kept), made.sample.encoded, WorkerPool(1))
    best = train_best(made.bench, LAYOUT, [1, 2], *arguments, told.__setitem__)
    assert best is told[2]
    assert str(told[1]) == "the loss is nan"
    with pytest.raises(TrialError, match="the loss is nan"):
        train_best(made.bench, LAYOUT, [1], *arguments)


def test_a_run_in_another_process_is_the_same(place):
    made = place("bert")
    kept = np.array(made.test.kept)
    question = (made.bench, LAYOUT, 5, made.encoded, kept, made.sample.encoded)
    there = pickle.loads(pickle.dumps(train_final_model(*pickle.loads(pickle.dumps(question)))))
    here = made.train(LAYOUT)
    assert there.weights.keys() == here.weights.keys()
    assert all((there.weights[name] == here.weights[name]).all() for name in here.weights)
    assert (there.answers.together == here.answers.together).all()
    assert there.score("test").loss == here.score("test").loss


def test_fresh_seeds_are_above_all_used_ones():
    assert export_seeds([0, 7, 3], 3) == [8, 9, 10]
    assert export_seeds([], 1) == [0]


def test_scores_are_those_of_the_test_rows(place):
    made = place("bert")
    done = made.train(LAYOUT)
    assert [score.split for score in done.scores] == ["validation", "test", "test-raw"]
    model = merged_model(made.bench, LAYOUT, done)
    inputs = made.tokenizer(
        list(made.test.rows.texts),
        padding=True,
        truncation=True,
        max_length=12,
        return_tensors="pt",
    )
    with torch.inference_mode():
        said = model(**inputs).logits.argmax(-1).numpy()
    right = said == np.array(made.test.rows.labels)
    assert done.score("test-raw").accuracy == pytest.approx(right.mean())
    assert done.score("test").accuracy == pytest.approx(right[np.array(made.test.kept)].mean())
