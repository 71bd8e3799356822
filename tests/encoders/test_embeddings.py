"""Token embeddings: rows of unused tokens change nothing, in any family."""

import copy

import numpy as np
import pytest
import torch

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.pruning import keep_embedding_rows, used_token_ids
from autoprune.encoders.registry import Encoder

IDS = np.array([[2, 5, 9, 14, 3, 0], [2, 7, 6, 5, 8, 3]], dtype=np.int32)
MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])


@pytest.fixture
def model(make_model, family, jitter):
    folder = make_model(family)
    checkpoint = read_checkpoint(Encoder("tiny", str(folder)), folder)
    model = load_classifier(checkpoint, ["a", "b", "c"], 0)
    jitter(model)
    return model


def run(model, ids):
    logits = model(input_ids=torch.from_numpy(ids.astype(np.int64)), attention_mask=MASK).logits
    logits.square().sum().backward()
    weights = dict(model.base_model.named_parameters())
    name = next(n for n in weights if n.endswith("0.attention.self.query.weight") or "layer" in n)
    return logits.detach(), weights[name].grad


def test_used_rows_give_the_same_logits_and_gradients(model):
    kept = used_token_ids(0, IDS.ravel())
    small = copy.deepcopy(model)
    before = sum(weight.numel() for weight in small.parameters())
    removed = keep_embedding_rows(small, kept)
    assert sum(weight.numel() for weight in small.parameters()) == before - removed
    for found, expected in zip(
        run(small, np.searchsorted(kept, IDS)), run(model, IDS), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert removed > 0
    swapped = kept.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    wrong = copy.deepcopy(model)
    keep_embedding_rows(wrong, swapped)
    assert not torch.allclose(run(wrong, np.searchsorted(kept, IDS))[0], run(model, IDS)[0])
