"""Labels of words: which token stands for a word, logits at words, and the losses on them."""

import numpy as np
import pytest
import torch

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.registry import Encoder
from autoprune.tasks.task import LabelledRows
from autoprune.tasks.tokenization import encode, first_tokens, join_splits, take_rows
from autoprune.training.budget import Distillation
from autoprune.training.distillation import TeacherTargets, distillation_loss
from autoprune.training.loop import MicroBatcher, load_batch, predict_logits
from autoprune.training.metrics import NO_WORD
from autoprune.training.problem_types import TOKEN_CLASSIFICATION
from tiny_models import NUMBERS, save_model, tiny_tokenizer

CPU = torch.device("cpu")

ROWS = LabelledRows(
    (" ".join(NUMBERS[:5]), NUMBERS[0], " ".join(NUMBERS[:3])),
    ((0, 1, 2, 0, 1), (2,), (1, 0, 0)),
    by_word=True,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_model("bert", tmp_path_factory.mktemp("words") / "tiny")
    checkpoint = read_checkpoint(Encoder("tiny", str(folder)), folder)
    return load_classifier(checkpoint, ("O", "B-X", "I-X"), 0, "token_classification").eval()


@pytest.fixture(scope="module")
def encoded():
    return encode(ROWS, tiny_tokenizer(), 32)


@pytest.mark.parametrize(
    ("text", "offsets", "expected"),
    [
        ("ab c", [(0, 0), (0, 1), (1, 2), (3, 4), (0, 0)], [1, 3]),
        ("ab c", [(0, 2), (2, 4)], [0, 1]),  # no token before, a space in the second one
        ("a \u200d c", [(0, 0), (0, 1), (4, 5)], [1, 0, 2]),  # nothing is read of the second word
    ],
)
def test_first_token_stands_for_a_word(text, offsets, expected):
    assert first_tokens([text], [offsets]).tolist() == [expected]


def test_encoded_rows_have_a_token_and_a_label_for_each_word(encoded):
    assert encoded.words.tolist() == [[1, 2, 3, 4, 5], [1, 0, 0, 0, 0], [1, 2, 3, 0, 0]]
    assert encoded.labels.tolist()[1] == [2, *[NO_WORD] * 4]
    both = join_splits(take_rows(encoded, np.array([1, 2])), encoded)
    assert both.labels.shape == both.words.shape == (5, 5)
    batch = load_batch(both, np.array([0, 1]), CPU)
    assert batch.words.tolist() == [[1, 0, 0], [1, 2, 3]]
    assert batch.labels.tolist() == [[2, NO_WORD, NO_WORD], [1, 0, 0]]


def test_logits_are_those_of_the_words_and_0_after_the_last(model, encoded):
    found = predict_logits(model, encoded, CPU, MicroBatcher(2))
    assert found.shape == (3, 5, 3)
    with torch.inference_mode():
        inputs = tiny_tokenizer()(ROWS.texts[2], return_tensors="pt")
        known = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        expected = model(**known).logits[0, 1:4]
    np.testing.assert_allclose(found[2, :3], expected.numpy(), atol=1e-2)  # bfloat16
    assert not found[1, 1:].any() and not found[2, 3:].any()


def test_losses_of_words_are_those_of_each_word_alone():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 3, NO_WORD], [0, NO_WORD, NO_WORD]])
    logits[labels == NO_WORD] = 0
    alone = sum(
        torch.nn.functional.cross_entropy(logits[row, word][None], labels[row, word][None])
        for row, word in ((0, 0), (0, 1), (1, 0))
    )
    assert 16 * TOKEN_CLASSIFICATION.loss(logits, labels) == pytest.approx(float(alone), rel=1e-5)
    per_row = TOKEN_CLASSIFICATION.row_losses(logits.numpy(), labels.numpy())
    assert 2 * per_row[0] + per_row[1] == pytest.approx(float(alone), rel=1e-5)


def test_teacher_of_a_batch_with_fewer_words_is_that_of_its_words(encoded):
    targets = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    targets[encoded.labels == NO_WORD] = 0
    batch = load_batch(encoded, np.array([1, 2]), CPU)
    settings = Distillation("logits", "x", temperature=2.0, weight=1.0)
    teacher = TeacherTargets(3, targets)
    same = torch.from_numpy(targets[[1, 2], :3].copy())
    loss = distillation_loss(same, batch, settings, teacher, TOKEN_CLASSIFICATION)
    assert float(loss) == pytest.approx(0, abs=1e-6)
