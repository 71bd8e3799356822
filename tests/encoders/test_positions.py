"""Positions: the longest text that an encoder is said to take is the longest that it takes."""

import pytest
import torch

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, max_input_length
from autoprune.encoders.registry import find_encoder
from autoprune.errors import ModelError
from tiny_models import FAMILIES, MORE_FAMILIES, save_model

PAD, WORD, TOKENS = 0, 7, 100

# Without a table of positions: a longer text runs as well.
ROTARY = {"nomic_bert", "modernbert", "eurobert"}

RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p"], "position_biased_input": False}


def runs(model, length):
    """Return whether `model` gives logits for a row of `length` tokens beside a padded one."""
    ids = torch.full((2, length), WORD)
    ids[1, 2:] = PAD
    try:
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits  # (2, 2)
    except (IndexError, RuntimeError):
        return False
    return bool(logits.isfinite().all())


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
@pytest.mark.parametrize("positions", [24, 40])
def test_longest_text_runs_and_one_more_token_fails(tmp_path, family, positions):
    folder = save_model(family, tmp_path / "tiny", max_position_embeddings=positions)
    checkpoint = fetch(find_encoder(str(folder)))
    longest = max_input_length(checkpoint, TOKENS)
    assert max_input_length(checkpoint, 5) == 5
    assert positions - 2 <= longest <= positions
    model = load_classifier(checkpoint, ["a", "b"], 0)
    assert runs(model, longest)
    assert runs(model, longest + 1) == (family in ROTARY)


@pytest.mark.parametrize(
    ("family", "sizes", "longest"),
    [
        ("roberta", {"pad_token_id": 1}, 38),
        ("esm", {"pad_token_id": 1}, 38),
        ("mpnet", {"pad_token_id": 1}, 38),
        ("longformer", {"pad_token_id": 1, "attention_window": [6] * 5}, 38),
        ("esm", {"position_embedding_type": "rotary"}, 40),
        ("distilbert", {"sinusoidal_pos_embds": True}, 40),
        ("deberta", RELATIVE, TOKENS),
        ("deberta-v2", RELATIVE, TOKENS),
    ],
)
def test_longest_text_depends_on_how_positions_are_counted(tmp_path, family, sizes, longest):
    checkpoint = fetch(find_encoder(str(save_model(family, tmp_path / "tiny", **sizes))))
    assert max_input_length(checkpoint, TOKENS) == longest
    assert runs(load_classifier(checkpoint, ["a", "b"], 0), longest)


def test_family_without_a_table_of_tokens_is_refused(tmp_path):
    folder = save_model("ibert", tmp_path / "tiny")
    with pytest.raises(ModelError, match="ibert has no plain table of token embeddings") as raised:
        load_classifier(fetch(find_encoder(str(folder))), ["a", "b"], 0)
    assert "\n" not in str(raised.value)
