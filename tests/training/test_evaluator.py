"""Layout evaluator: repeatable, fair to all layouts, and nothing of a trial stays in memory."""

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from autoprune.choices import METHOD_NAMES
from autoprune.encoders.pruning import encoder_layers, used_token_ids
from autoprune.errors import LayoutError, TrialError
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import remap_tokens
from autoprune.training import evaluator as evaluator_module
from autoprune.training.loop import MicroBatcher, predict_logits
from tiny_models import DEPTH

HALF = Layout(4, (0, 2))


def logits_of(trained, rows):
    return predict_logits(trained.model, rows, torch.device("cpu"), MicroBatcher(8))


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_score_of_the_same_seed_is_the_same_bit_for_bit(evaluator, budget, method):
    evaluator = replace(evaluator, budget=replace(budget, method=method))
    torch.manual_seed(1)
    first = evaluator.train(HALF, 3)
    torch.manual_seed(2)
    evaluator.evaluate(Layout.full(4), 3)
    second = evaluator.train(HALF, 3)
    assert replace(first.score, seconds=0) == replace(second.score, seconds=0)
    assert (logits_of(first, evaluator.validation) == logits_of(second, evaluator.validation)).all()


def test_score_of_another_seed_differs(evaluator):
    first, second = evaluator.train(HALF, 3), evaluator.train(HALF, 4)
    assert first.score.loss != second.score.loss


def test_head_at_the_start_depends_on_the_seed_alone(evaluator):
    still = replace(
        evaluator, budget=replace(evaluator.budget, learning_rate=1e-12, steps=1, checks=1)
    )
    heads = [still.train(layout, 5).model.classifier.weight for layout in (HALF, Layout.full(4))]
    torch.testing.assert_close(heads[0], heads[1], atol=1e-9, rtol=0)
    other = still.train(HALF, 6).model.classifier.weight
    assert not torch.allclose(heads[0], other)


def test_training_learns_the_task(evaluator):
    long = replace(evaluator, budget=replace(evaluator.budget, steps=150))
    assert long.evaluate(Layout(4, (0, 1)), 0).quality > 0.8


def test_layers_that_are_kept_are_those_of_the_layout(evaluator):
    still = replace(
        evaluator, budget=replace(evaluator.budget, learning_rate=1e-12, steps=1, checks=1)
    )
    layers = still.load(0).bert.encoder.layer
    kept = still.train(Layout(4, (1, 3)), 0).model.bert.encoder.layer
    for layer, loaded in zip(kept, (layers[1], layers[3]), strict=True):
        torch.testing.assert_close(layer.state_dict(), loaded.state_dict(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("method", "trained_weight", "frozen"),
    [
        ("full", "bert.encoder.layer.0.attention.self.query.weight", None),
        ("lora", "bert.encoder.layer.0.attention.self.query.weight", "bert.embeddings"),
        ("head", "classifier.weight", "bert.encoder"),
    ],
)
def test_method_trains_its_weights_and_no_others(evaluator, budget, method, trained_weight, frozen):
    evaluator = replace(evaluator, budget=replace(budget, method=method))
    before = evaluator.load(0).state_dict()
    trained = evaluator.train(Layout.full(4), 0).model
    after = trained.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {trained_weight, "classifier.weight", "bert.pooler.dense.weight"} <= changed
    assert not [name for name in changed if name.startswith(frozen or "nothing")]
    assert all(weight.requires_grad for weight in trained.parameters())


def test_merging_adapters_leaves_no_lock_between_processes(evaluator, budget):
    tqdm.set_lock(None)
    replace(evaluator, budget=replace(budget, method="lora", steps=1, checks=1)).train(HALF, 1)
    assert isinstance(tqdm.get_lock(), type(threading.RLock()))


def test_returned_model_is_the_one_that_was_scored(evaluator, budget):
    for method in METHOD_NAMES:
        trained = replace(evaluator, budget=replace(budget, method=method)).train(HALF, 1)
        predicted = logits_of(trained, evaluator.validation).argmax(-1)
        assert trained.score.quality == np.mean(predicted == evaluator.validation.labels)


def test_callback_gets_quality_and_steps_and_may_stop_the_run(evaluator):
    seen = []

    class Enough(Exception):
        pass

    def callback(quality, steps):
        seen.append((quality, steps))
        if steps == 8:
            raise Enough

    with pytest.raises(Enough):
        evaluator.evaluate(HALF, 0, callback)
    assert [steps for _, steps in seen] == [4, 8]
    assert all(0 <= quality <= 1 for quality, _ in seen)


@pytest.mark.parametrize("steps", [40, 45])  # a whole number of them between checks, or not
def test_early_stopping_returns_to_the_best_evaluation(evaluator, steps):
    budget = replace(evaluator.budget, steps=steps, checks=20, patience=2, learning_rate=2e-2)
    seen = []
    trained = replace(evaluator, budget=budget).train(HALF, 0, lambda q, s: seen.append((q, s)))
    best = max(quality for quality, _ in seen)
    assert trained.score.quality == best
    assert trained.steps == next(steps for quality, steps in seen if quality == best)
    predicted = logits_of(trained, evaluator.validation).argmax(-1)
    assert np.mean(predicted == evaluator.validation.labels) == best
    assert len(seen) < 20
    assert sum(steps > trained.steps for _, steps in seen) == 2


def test_loss_that_is_not_a_number_fails_the_trial_with_the_reason(evaluator):
    def broken(seed):
        model = evaluator.load(seed)
        with torch.no_grad():
            model.classifier.bias[0] = float("nan")
        return model

    with pytest.raises(TrialError, match="loss is nan at step 1 with seed 9"):
        replace(evaluator, load=broken).evaluate(HALF, 9)


def test_outputs_that_are_not_numbers_fail_the_trial(evaluator, monkeypatch):
    """The last step before an evaluation may break the weights, after its loss was computed."""
    nothing = np.full((len(evaluator.validation), 3), np.nan, dtype=np.float32)
    monkeypatch.setattr("autoprune.training.evaluator.predict_logits", lambda *_: nothing)
    with pytest.raises(TrialError, match="outputs with seed 9 are not finite numbers"):
        evaluator.evaluate(HALF, 9)


def test_out_of_memory_halves_the_micro_batch_and_not_the_batch(evaluator):
    def without_dropout(seed):
        model = evaluator.load(seed)
        for part in model.modules():  # else drawn for each micro-batch
            part.p = 0.0 if isinstance(part, torch.nn.Dropout) else getattr(part, "p", None)
        return model

    def with_little_memory(seed):
        model = without_dropout(seed)

        def refuse(module, arguments, named):
            if len(named["input_ids"]) > 3:
                raise torch.OutOfMemoryError("planted")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model

    whole = replace(evaluator, load=without_dropout).train(HALF, 0)
    parts = replace(evaluator, load=with_little_memory).train(HALF, 0)
    assert parts.score.note == (
        "out of memory: went on with 4 rows at once; out of memory: went on with 2 rows at once"
    )
    assert whole.score.note == ""
    assert parts.score.loss == pytest.approx(whole.score.loss, abs=0.02)
    split = replace(
        evaluator, load=without_dropout, budget=replace(evaluator.budget, parts=4)
    ).train(HALF, 0)
    assert split.score.loss == pytest.approx(whole.score.loss, abs=0.02)


def test_other_errors_and_a_single_row_that_does_not_fit_are_raised():
    parts = MicroBatcher(4)
    with pytest.raises(RuntimeError, match="shapes"):
        parts.halve(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(torch.OutOfMemoryError):
        MicroBatcher(1).halve(torch.OutOfMemoryError("full"))
    assert parts.rows == 4


def test_finished_trial_leaves_nothing_in_memory(evaluator):
    def models():
        gc.collect()
        kinds = [type(thing).__name__ for thing in gc.get_objects()]
        return kinds.count("BertForSequenceClassification")

    others = models()
    gone = weakref.ref(evaluator.train(HALF, 0).model)
    gc.collect()
    assert gone() is None
    for seed in range(5):
        evaluator.evaluate(HALF, seed)
    assert models() == others


def test_layout_of_another_depth_is_refused(evaluator):
    with pytest.raises(LayoutError, match="12 layers"):
        evaluator.evaluate(Layout.full(12), 0)


def test_parameters_and_seconds_per_step_are_measured(evaluator):
    half, full = evaluator.parameters(HALF), evaluator.parameters(Layout.full(4))
    one_layer = sum(w.numel() for w in evaluator.load(0).bert.encoder.layer[0].parameters())
    assert full.total - half.total == 2 * one_layer
    assert full.total == sum(w.numel() for w in evaluator.load(0).parameters())
    assert evaluator.seconds_per_step(HALF) > 0


def test_embedding_rows_of_unused_tokens_change_no_score(evaluator):
    used = used_token_ids(0, evaluator.rows.ids, evaluator.validation.ids)
    assert len(used) < 40
    small = replace(
        evaluator,
        rows=remap_tokens(evaluator.rows, used),
        validation=remap_tokens(evaluator.validation, used),
    )
    whole, reduced = evaluator.train(HALF, 2), small.train(HALF, 2)
    np.testing.assert_allclose(
        logits_of(reduced, small.validation), logits_of(whole, evaluator.validation), atol=2e-6
    )
    assert small.parameters(HALF) == evaluator.parameters(HALF)
    assert reduced.model.get_input_embeddings().num_embeddings == len(used)


@pytest.fixture
def evaluations(monkeypatch):
    """Count the evaluations of the validation split."""
    plain, calls = evaluator_module.predict_logits, []

    def counted(*args):
        calls.append(1)
        return plain(*args)

    monkeypatch.setattr(evaluator_module, "predict_logits", counted)
    return calls


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_evaluations_without_a_callback_are_left_out_and_change_no_score(
    evaluator, budget, method, evaluations
):
    evaluator = replace(evaluator, budget=replace(budget, method=method))
    seen = []
    watched = evaluator.evaluate(HALF, 3, lambda quality, steps: seen.append((quality, steps)))
    with_checks = len(evaluations)
    unwatched = evaluator.evaluate(HALF, 3)
    assert replace(watched, seconds=0) == replace(unwatched, seconds=0)
    assert [steps for _, steps in seen] == [4, 8, 12]
    assert with_checks - (len(evaluations) - with_checks) == 2


def test_evaluations_for_early_stopping_are_not_left_out(evaluator, budget, evaluations):
    replace(evaluator, budget=replace(budget, patience=3)).evaluate(HALF, 3)
    assert len(evaluations) == 3


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists the mappings")
def test_file_of_the_model_is_not_held_in_memory_during_training(pretrained, tmp_path):
    evaluator = pretrained("bert")
    folder = str(tmp_path / "model")
    loaded = evaluator.load(0)
    assert folder in Path("/proc/self/maps").read_text()
    del loaded
    gc.collect()
    model = evaluator.untrained(Layout(DEPTH, (0, 1)), 0)
    gc.collect()
    assert folder not in Path("/proc/self/maps").read_text()
    assert len(encoder_layers(model)) == 2


def test_evaluations_are_cheap_below_a_tenth_of_the_training(evaluator, budget):
    rows, checks = len(evaluator.validation), 3
    enough = 10 * (checks - 1) * rows / (3 * budget.batch)  # a row costs three times as much
    for steps, cheap in ((int(enough) + 1, True), (int(enough), False)):
        changed = replace(budget, steps=steps, checks=checks)
        assert replace(evaluator, budget=changed).evaluations_are_cheap is cheap
    assert replace(evaluator, budget=replace(budget, steps=1, checks=1)).evaluations_are_cheap


@pytest.mark.parametrize("method", ["full", "lora", "head"])
def test_last_layer_computes_the_first_token_alone_while_it_is_trained(evaluator, budget, method):
    seen = []

    def load_watched(seed):
        model = evaluator.load(seed)
        encoder_layers(model)[-1].register_forward_hook(
            lambda layer, _, output: seen.append(output.shape[1]) if layer.training else None
        )
        return model

    watched = replace(evaluator, load=load_watched, budget=replace(budget, method=method))
    trained = watched.train(Layout.full(4), 3)
    assert len(seen) == budget.steps and set(seen) == {1}
    assert "forward" not in vars(encoder_layers(trained.model)[-1])
