"""Knowledge distillation: known losses, states at the same place, and runs that resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import join_splits, take_rows
from autoprune.training.budget import Budget, Distillation
from autoprune.training.checkpoint import CheckpointFile
from autoprune.training.distillation import (
    TeacherTargets,
    distillation_loss,
    hidden_losses,
    predict_targets,
    recorded_states,
)
from autoprune.training.loop import Batch
from autoprune.training.problem_types import PROBLEM_TYPES, SINGLE_LABEL
from tiny_models import DEPTH, FAMILIES

HALF = Layout(4, (0, 2))
CPU = torch.device("cpu")


def settings(kind="logits", **changes):
    return Distillation(
        **{"kind": kind, "teacher": "t", "temperature": 2.0, "weight": 0.7} | changes
    )


def batch_of(rows, labels):
    return Batch(np.array(rows), {}, torch.tensor(labels))


def teach(evaluator, split=None, with_states=False):
    """Return what the full model says of the rows after a short training."""
    trained = evaluator.train(Layout.full(4), 1)
    rows = split or evaluator.rows
    return predict_targets(trained.model, rows, len(evaluator.rows), with_states, CPU, 8)


def distilled(evaluator, kind="logits", **changes):
    targets = teach(evaluator, with_states=kind == "hidden")
    budget = replace(evaluator.budget, distillation=settings(kind, **changes))
    return replace(evaluator, budget=budget, targets=targets)


def test_loss_of_logits_is_the_scaled_divergence():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[np.log(9.0) * 2, 0.0]])
    # At temperature 2 the teacher has 0.9 and 0.1, the student a half each.
    divergence = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    [loss] = SINGLE_LABEL.teacher_losses(student, teacher.float(), 2.0)
    assert float(loss) == pytest.approx(4 * divergence, rel=1e-6)


@pytest.mark.parametrize("name", PROBLEM_TYPES)
def test_losses_against_the_same_logits_are_none(name):
    logits = torch.tensor([[0.3, -1.0, 2.0], [5.0, 0.0, 0.0]])
    if PROBLEM_TYPES[name].by_word:
        logits = logits[:, None]
    losses = PROBLEM_TYPES[name].teacher_losses(logits, logits, 3.0)
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-6, rtol=0)


def test_row_without_label_has_the_loss_of_the_teacher_alone():
    targets = TeacherTargets(1, np.array([[1.0, 0.0], [0.0, 3.0]], np.float32))
    logits = torch.tensor([[0.5, 0.1], [0.5, 0.1]])
    both = SINGLE_LABEL.teacher_losses(logits, torch.from_numpy(targets.logits), 2.0)
    label = torch.nn.functional.cross_entropy(logits[:1], torch.tensor([1]))
    loss = distillation_loss(logits, batch_of([0, 1], [1, 0]), settings(), targets, SINGLE_LABEL)
    assert float(loss) == pytest.approx(float(0.7 * both[0] + 0.3 * label + both[1]), rel=1e-6)
    only = distillation_loss(
        logits, batch_of([0, 1], [1, 0]), settings(weight=1.0), targets, SINGLE_LABEL
    )
    assert float(only) == pytest.approx(float(both.sum()), rel=1e-6)


def test_hidden_loss_compares_kept_layers_with_the_teacher_at_their_place():
    states = np.zeros((1, 4, 2), np.float16)
    states[0, :, 0] = [1, 2, 3, 4]  # of the teacher's layers
    targets = TeacherTargets(1, np.zeros((1, 2), np.float32), states)
    same = [torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]]), torch.tensor([[9.0, 9.0]])]
    rows, layout = np.array([0]), Layout(4, (0, 2, 3))
    assert hidden_losses(same, targets, rows, layout).tolist() == [0.0]  # the last is left out
    # Off by one in layer 2: a squared error of 1 in one of two units, against a square of 9 there.
    off = [same[0], torch.tensor([[2.0, 0.0]]), same[2]]
    assert hidden_losses(off, targets, rows, layout).tolist() == pytest.approx([1 / 9 / 2])
    assert hidden_losses(same[:1], targets, rows, Layout(4, (3,))) == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_first_token_after_each_layer(family, pretrained, fp32):
    evaluator = pretrained(family)
    model = evaluator.untrained(Layout.full(DEPTH), 0).eval()
    targets = predict_targets(model, evaluator.rows, len(evaluator.rows), True, CPU, 8)
    assert targets.states.shape[:2] == (len(evaluator.rows), DEPTH)
    pruned = evaluator.untrained(Layout(DEPTH, (0, 1)), 0).eval()
    split = take_rows(evaluator.rows, np.arange(5))
    with recorded_states(pruned) as recorded:
        predict_targets(pruned, split, 5, False, CPU, 8)
    order = np.argsort(-split.lengths, kind="stable")
    for layer, state in enumerate(recorded):
        np.testing.assert_allclose(
            state.detach().numpy(), targets.states[order, layer], atol=2e-2, rtol=2e-2
        )
    assert len(recorded) == 2


@pytest.mark.parametrize("kind", ["logits", "hidden"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_distilled_run_resumes_bit_for_bit(evaluator, tmp_path, kind, method):
    evaluator = distilled(evaluator, kind)
    evaluator = replace(evaluator, budget=replace(evaluator.budget, method=method))
    whole = evaluator.evaluate(HALF, 3)
    file = CheckpointFile(tmp_path / "run.safetensors", interval=0)
    first = replace(evaluator, budget=replace(evaluator.budget, pause_at=5))
    first.evaluate(HALF, 3, checkpoint=file)
    again = evaluator.evaluate(HALF, 3, checkpoint=file)
    assert replace(again, seconds=0) == replace(whole, seconds=0)


def test_checkpoint_of_another_teacher_is_not_resumed(evaluator, tmp_path):
    evaluator = distilled(evaluator)
    file = CheckpointFile(tmp_path / "run.safetensors", interval=0)
    replace(evaluator, budget=replace(evaluator.budget, pause_at=5)).evaluate(
        HALF, 3, checkpoint=file
    )
    targets = replace(evaluator.targets, logits=-evaluator.targets.logits)
    other = replace(evaluator, targets=targets)
    expected = other.evaluate(HALF, 3)
    assert other.evaluate(HALF, 3, checkpoint=file).loss == expected.loss


@pytest.mark.parametrize("kind", [pytest.param("logits", marks=pytest.mark.slow), "hidden"])
def test_student_comes_near_its_teacher(evaluator, kind):
    long = replace(evaluator, budget=replace(evaluator.budget, steps=300))
    plain = long.train(HALF, 3)
    taught = distilled(long, kind, weight=1.0)
    student = taught.train(HALF, 3)

    def distance(trained):
        own = predict_targets(trained.model, taught.rows, 0, False, CPU, 8)
        gaps = own.logits - taught.targets.logits
        return float(np.abs(gaps - gaps.mean(-1, keepdims=True)).mean())

    assert distance(student) < distance(plain) * 0.8


def test_texts_without_labels_are_learned_from_the_teacher(evaluator):
    # The student sees the labels of no row of a class, only the teacher's logits.
    long = replace(evaluator, budget=replace(evaluator.budget, steps=200))
    targets = teach(long)
    few = np.flatnonzero(evaluator.rows.labels != 2)
    rest = np.flatnonzero(evaluator.rows.labels == 2)
    hidden = replace(take_rows(evaluator.rows, rest), labels=np.zeros(len(rest), np.int64))
    rows = join_splits(take_rows(evaluator.rows, few), hidden)
    logits = targets.logits[np.concatenate([few, rest])]
    budget = replace(long.budget, distillation=settings(unlabelled="yes"))
    student = replace(
        long, rows=rows, budget=budget, targets=TeacherTargets(len(few), logits)
    ).train(HALF, 3)
    assert student.score.quality > 0.8
    unseen = replace(long, rows=take_rows(evaluator.rows, few)).train(HALF, 3)
    assert unseen.score.quality < 0.75


def test_joined_splits_have_the_rows_of_both(evaluator):
    first, second = (take_rows(evaluator.rows, np.arange(*ends)) for ends in ((0, 5), (5, 64)))
    joined = join_splits(first, second)
    for row in range(len(evaluator.rows)):
        tokens = [
            split.ids[split.starts[row] : split.starts[row] + split.lengths[row]].tolist()
            for split in (joined, evaluator.rows)
        ]
        assert tokens[0] == tokens[1]
    assert (joined.labels == evaluator.rows.labels).all()


def test_targets_are_read_back_and_those_of_another_teacher_are_not(tmp_path):
    states = np.arange(12, dtype=np.float16).reshape(2, 3, 2)
    targets = TeacherTargets(1, np.array([[1.5, 2.0], [0.1, 3.0]], np.float32), states)
    path = tmp_path / "teacher" / "t.safetensors"
    targets.write(path, "one")
    back = TeacherTargets.read(path, "one")
    assert back.fingerprint == targets.fingerprint
    assert back.labelled == 1
    assert TeacherTargets.read(path, "two") is None
    path.write_bytes(path.read_bytes()[:50])
    assert TeacherTargets.read(path, "one") is None
    assert TeacherTargets.read(tmp_path / "none", "one") is None


def test_mean_of_teachers_is_that_of_their_logits():
    pair = [TeacherTargets(1, np.array([[value, 0.0]], np.float32)) for value in (1.0, 4.0)]
    assert TeacherTargets.average(pair).logits.tolist() == [[2.5, 0.0]]


def test_budget_with_distillation_is_read_back():
    budget = Budget(steps=3, distillation=settings(unlabelled="x"), head="fitted")
    assert Budget.from_dict(budget.to_dict()) == budget
    plain = Budget(steps=3).to_dict()
    assert "distillation" not in plain
    assert "head" not in plain
