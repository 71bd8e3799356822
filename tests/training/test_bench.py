"""The bench: repeatable, fair, and nothing of a trial stays."""

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from autoprune.choices import METHOD_NAMES
from autoprune.encoders.embeddings import used_token_ids
from autoprune.errors import LayoutError, TrialError
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import remap_tokens
from autoprune.training.loop import MicroBatcher, TrainingClock, predict_logits

HALF = Layout(4, (0, 2))


def logits_of(trained, rows):
    return predict_logits(
        trained.model, rows, torch.device("cpu"), MicroBatcher(8), TrainingClock()
    )


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_same_seed_gives_the_same_score_bit_for_bit(bench, budget, method):
    bench = replace(bench, budget=replace(budget, method=method))
    torch.manual_seed(1)
    first = bench.train(HALF, 3)
    torch.manual_seed(2)
    bench.measure(Layout.full(4), 3)
    second = bench.train(HALF, 3)
    assert replace(first.score, seconds=0) == replace(second.score, seconds=0)
    assert (logits_of(first, bench.validation) == logits_of(second, bench.validation)).all()


def test_another_seed_draws_another_head_and_another_order(bench):
    first, second = bench.train(HALF, 3), bench.train(HALF, 4)
    assert first.score.loss != second.score.loss


def test_every_layout_starts_from_the_same_head(bench):
    still = replace(bench, budget=replace(bench.budget, learning_rate=1e-12, steps=1, checks=1))
    heads = [still.train(layout, 5).model.classifier.weight for layout in (HALF, Layout.full(4))]
    torch.testing.assert_close(heads[0], heads[1], atol=1e-9, rtol=0)
    other = still.train(HALF, 6).model.classifier.weight
    assert not torch.allclose(heads[0], other)


def test_training_learns(bench):
    long = replace(bench, budget=replace(bench.budget, steps=150))
    assert long.measure(Layout(4, (0, 1)), 0).quality > 0.8


def test_the_kept_layers_are_the_layouts(bench):
    still = replace(bench, budget=replace(bench.budget, learning_rate=1e-12, steps=1, checks=1))
    layers = still.load(0).bert.encoder.layer
    kept = still.train(Layout(4, (1, 3)), 0).model.bert.encoder.layer
    for mine, theirs in zip(kept, (layers[1], layers[3]), strict=True):
        torch.testing.assert_close(mine.state_dict(), theirs.state_dict(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("method", "learns", "rests"),
    [
        ("full", "bert.encoder.layer.0.attention.self.query.weight", None),
        ("lora", "bert.encoder.layer.0.attention.self.query.weight", "bert.embeddings"),
        ("head", "classifier.weight", "bert.encoder"),
    ],
)
def test_a_method_trains_its_weights_and_no_others(bench, budget, method, learns, rests):
    bench = replace(bench, budget=replace(budget, method=method))
    before = bench.load(0).state_dict()
    trained = bench.train(Layout.full(4), 0).model
    after = trained.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {learns, "classifier.weight", "bert.pooler.dense.weight"} <= changed
    assert not [name for name in changed if name.startswith(rests or "nothing")]
    assert all(weight.requires_grad for weight in trained.parameters())


def test_adapters_leave_no_lock_between_processes_behind(bench, budget):
    tqdm.set_lock(None)
    replace(bench, budget=replace(budget, method="lora", steps=1, checks=1)).train(HALF, 1)
    assert isinstance(tqdm.get_lock(), type(threading.RLock()))


def test_what_is_handed_over_is_what_was_scored(bench, budget):
    for method in METHOD_NAMES:
        mine = replace(bench, budget=replace(budget, method=method))
        trained = mine.train(HALF, 1)
        predicted = logits_of(trained, mine.validation).argmax(-1)
        assert trained.score.quality == np.mean(predicted == mine.validation.labels)


def test_checks_report_quality_and_steps_and_may_stop_the_run(bench):
    seen = []

    class Enough(Exception):
        pass

    def check(quality, steps):
        seen.append((quality, steps))
        if steps == 8:
            raise Enough

    with pytest.raises(Enough):
        bench.measure(HALF, 0, check)
    assert [steps for _, steps in seen] == [4, 8]
    assert all(0 <= quality <= 1 for quality, _ in seen)


def test_early_stopping_goes_back_to_the_best_check(bench):
    budget = replace(bench.budget, steps=40, checks=20, patience=2, learning_rate=2e-2)
    seen = []
    trained = replace(bench, budget=budget).train(HALF, 0, lambda q, s: seen.append((q, s)))
    best = max(quality for quality, _ in seen)
    assert trained.score.quality == best
    assert trained.steps == next(steps for quality, steps in seen if quality == best)
    predicted = logits_of(trained, bench.validation).argmax(-1)
    assert np.mean(predicted == bench.validation.labels) == best
    assert len(seen) < 20
    assert seen[-1][1] - trained.steps == 4


def test_a_loss_that_is_not_a_number_fails_the_trial_with_the_reason(bench):
    def broken(seed):
        model = bench.load(seed)
        with torch.no_grad():
            model.classifier.bias[0] = float("nan")
        return model

    with pytest.raises(TrialError, match="loss is nan at step 1 with seed 9"):
        replace(bench, load=broken).measure(HALF, 9)


def test_outputs_that_are_not_numbers_fail_the_trial_too(bench, monkeypatch):
    """Where the last step before a check broke the weights, no loss has told of it yet."""
    nothing = np.full((len(bench.validation), 3), np.nan, dtype=np.float32)
    monkeypatch.setattr("autoprune.training.evaluator.predict_logits", lambda *_: nothing)
    with pytest.raises(TrialError, match="outputs with seed 9 are not finite numbers"):
        bench.measure(HALF, 9)


def test_out_of_memory_halves_the_rows_at_once_and_changes_no_batch(bench):
    plain = bench.load

    def small(seed):
        model = plain(seed)
        for part in model.modules():  # dropout would draw other masks for smaller parts
            part.p = 0.0 if isinstance(part, torch.nn.Dropout) else getattr(part, "p", None)
        return model

    def scarce(seed):
        model = small(seed)

        def refuse(module, arguments, named):
            if len(named["input_ids"]) > 3:
                raise torch.OutOfMemoryError("planted")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model

    whole = replace(bench, load=small).train(HALF, 0)
    parts = replace(bench, load=scarce).train(HALF, 0)
    assert parts.score.note == (
        "out of memory: went on with 4 rows at once; out of memory: went on with 2 rows at once"
    )
    assert whole.score.note == ""
    assert parts.score.loss == pytest.approx(whole.score.loss, abs=0.02)
    split = replace(bench, load=small, budget=replace(bench.budget, parts=4)).train(HALF, 0)
    assert split.score.loss == pytest.approx(whole.score.loss, abs=0.02)


def test_other_errors_and_a_single_row_that_does_not_fit_are_not_hidden(bench):
    parts = MicroBatcher(4)
    with pytest.raises(RuntimeError, match="shapes"):
        parts.halve(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(torch.OutOfMemoryError):
        MicroBatcher(1).halve(torch.OutOfMemoryError("full"))
    assert parts.rows == 4


def test_nothing_of_a_finished_trial_stays(bench):
    def models():
        gc.collect()
        kinds = [type(thing).__name__ for thing in gc.get_objects()]
        return kinds.count("BertForSequenceClassification")

    others = models()
    gone = weakref.ref(bench.train(HALF, 0).model)
    gc.collect()
    assert gone() is None
    for seed in range(5):
        bench.measure(HALF, seed)
    assert models() == others


def test_a_layout_of_another_depth_is_refused(bench):
    with pytest.raises(LayoutError, match="12 layers"):
        bench.measure(Layout.full(12), 0)


def test_parameters_and_step_times_are_measured(bench):
    fewer, all_of_them = bench.parameters(HALF), bench.parameters(Layout.full(4))
    one_layer = sum(w.numel() for w in bench.load(0).bert.encoder.layer[0].parameters())
    assert all_of_them.total - fewer.total == 2 * one_layer
    assert all_of_them.total == sum(w.numel() for w in bench.load(0).parameters())
    assert bench.seconds_per_step(HALF) > 0


def test_embedding_rows_that_no_token_touches_change_no_score(bench):
    used = used_token_ids(0, bench.rows.ids, bench.validation.ids)
    assert len(used) < 40
    small = replace(
        bench,
        rows=remap_tokens(bench.rows, used),
        validation=remap_tokens(bench.validation, used),
    )
    one, other = bench.train(HALF, 2), small.train(HALF, 2)
    np.testing.assert_allclose(
        logits_of(other, small.validation), logits_of(one, bench.validation), atol=2e-6
    )
    assert small.parameters(HALF) == bench.parameters(HALF)
    assert other.model.get_input_embeddings().num_embeddings == len(used)
