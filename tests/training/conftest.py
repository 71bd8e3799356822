"""A tiny encoder and a tiny task that it can learn: the label is the first token."""

from functools import partial

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.budget import Budget
from autoprune.training.evaluator import LayoutEvaluator

CLASSES = 3


def load(seed, depth=4):
    torch.manual_seed(7)  # the "pre-trained" weights
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=depth,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=CLASSES,
    )
    model = BertForSequenceClassification(config)
    torch.manual_seed(seed)
    model.classifier.reset_parameters()
    return model


def rows(count, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, count)
    labels = rng.integers(0, CLASSES, count)
    ids = rng.integers(10, 40, lengths.sum()).astype(np.int32)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    ids[starts] = 1
    ids[starts + 1] = 2 + labels
    return EncodedSplit(ids, None, starts, lengths, labels, pad_id=0, pad_type=0, cut=0)


@pytest.fixture
def budget():
    return Budget(steps=12, batch=8, tokens=16, learning_rate=5e-3, checks=3)


@pytest.fixture
def bench(budget):
    return LayoutEvaluator(load, rows(64, 0), rows(40, 1), budget, torch.device("cpu"))


@pytest.fixture
def wide_load():
    return partial(load, depth=12)
