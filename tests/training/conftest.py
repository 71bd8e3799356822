"""A tiny encoder and a tiny task that it can learn: the label is the second token."""

from functools import partial

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.registry import find_encoder
from autoprune.tasks.task import LabelledRows
from autoprune.tasks.tokenization import EncodedSplit, encode
from autoprune.training.budget import Budget
from autoprune.training.evaluator import LayoutEvaluator
from tiny_models import save_model

CLASSES = 3


def load(seed):
    torch.manual_seed(7)  # the "pre-trained" weights
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=CLASSES,
    )
    model = BertForSequenceClassification(config)
    torch.manual_seed(seed)
    model.classifier.reset_parameters()
    return model


def make_split(rows, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, rows)
    labels = rng.integers(0, CLASSES, rows)
    ids = rng.integers(10, 40, lengths.sum()).astype(np.int32)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    ids[starts] = 1
    ids[starts + 1] = 2 + labels
    return EncodedSplit(ids, None, starts, lengths, labels, pad_id=0, pad_type=0, truncated=0)


@pytest.fixture
def budget():
    return Budget(steps=12, batch=8, tokens=16, learning_rate=5e-3, checks=3)


@pytest.fixture
def evaluator(budget):
    return LayoutEvaluator(load, make_split(64, 0), make_split(40, 1), budget, torch.device("cpu"))


@pytest.fixture
def fp32(monkeypatch):
    """Compute in fp32 on any machine; bfloat16 rounds a state differently in another batch."""
    monkeypatch.setattr("autoprune.training.devices.fast_in_bfloat16", lambda _: False)


@pytest.fixture
def pretrained(tmp_path, budget):
    """Return a function from a family to an evaluator of a tiny model in a folder of files.

    The model has no dropout before its head. The label is the first word.
    """

    def pretrained(family):
        checkpoint = fetch(find_encoder(str(save_model(family, tmp_path / "model"))), False)
        tokenizer = load_tokenizer(checkpoint)
        words = ["एक", "दोन", "तीन", "चार", "पाच", "सहा"]
        rng = np.random.default_rng(0)

        def draw(count):
            labels = rng.integers(0, 3, count)
            texts = [[words[label], *rng.choice(words, rng.integers(1, 6))] for label in labels]
            return encode(LabelledRows(tuple(map(" ".join, texts)), tuple(labels)), tokenizer, 16)

        load = partial(load_classifier, checkpoint, ["a", "b", "c"])
        return LayoutEvaluator(load, draw(48), draw(40), budget, torch.device("cpu"))

    return pretrained
