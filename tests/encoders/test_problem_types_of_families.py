"""Every tested family with every problem type: saved, loaded again, equal logits."""

import pytest
import torch
from transformers import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, AutoConfig

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_trained, trained_problem_type
from autoprune.encoders.registry import Encoder
from autoprune.errors import ModelError
from autoprune.training.problem_types import PROBLEM_TYPES
from tiny_models import FAMILIES, NUMBERS, save_model, tiny_tokenizer

NAMES = {
    "single_label_classification": ("a", "b", "c"),
    "multi_label_classification": ("a", "b", "c"),
    "regression": ("score",),
    "token_classification": ("O", "B-X", "I-X"),
}


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    folder = save_model(request.param, tmp_path_factory.mktemp("families") / request.param)
    return read_checkpoint(Encoder(request.param, str(folder)), folder)


@pytest.mark.parametrize("kind", PROBLEM_TYPES)
def test_family_with_problem_type_is_the_same_when_loaded_again(checkpoint, kind, tmp_path):
    has_tokens = type(AutoConfig.from_pretrained(checkpoint.folder)) in (
        MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING
    )
    if kind == "token_classification" and not has_tokens:
        with pytest.raises(ModelError, match="has no token-classification head for"):
            load_classifier(checkpoint, NAMES[kind], 0, kind)
        return
    model = load_classifier(checkpoint, NAMES[kind], 0, kind)
    model.save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    saved = read_checkpoint(Encoder("saved", str(tmp_path)), tmp_path)
    assert trained_problem_type(saved) == kind
    inputs = tokenizer(" ".join(NUMBERS[:5]), return_tensors="pt")
    known = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    loaded = load_trained(saved)
    weights = loaded.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    with torch.inference_mode():
        logits, again = (each.eval()(**known).logits for each in (model, loaded))
    torch.testing.assert_close(logits, again, atol=1e-6, rtol=1e-6)  # memory is aligned otherwise
    tokens = (7,) if kind == "token_classification" else ()
    assert logits.shape == (1, *tokens, len(NAMES[kind]))
